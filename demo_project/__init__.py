"""The demo: one page that shows what wsadapter promises, the failures too."""
