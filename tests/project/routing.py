from __future__ import annotations

from django.urls import path

from tests.project import endpoints
from tests.project.consumers import Chat, Echo, Plain
from tests.project.ends import Ending, Held

websocket_urlpatterns = [
    path("ws/", Plain.as_asgi()),
    path("ws/chat/", Chat.as_asgi()),
    path("ws/echo/", Echo.as_asgi()),
    path("ws/ends/", Ending.as_asgi()),
    path("ws/held/", Held.as_asgi()),
    # Conversations
    path("talk/greetings/", endpoints.greetings.as_asgi()),
    path("talk/unwelcoming/", endpoints.unwelcoming.as_asgi()),
    path("talk/echo/", endpoints.echo.as_asgi()),
    path("talk/reading/<str:kind>/", endpoints.reading.as_asgi()),
    path("talk/ordering/", endpoints.ordering.as_asgi()),
    path("talk/failing/", endpoints.failing.as_asgi()),
    path("talk/crowded/", endpoints.crowded.as_asgi()),
    path("talk/stating/", endpoints.stating.as_asgi()),
    path("talk/talking/", endpoints.Talking.as_asgi()),
    path("talk/conflicting/", endpoints.Conflicting.as_asgi()),
    path("talk/large/", endpoints.large.as_asgi()),
    path("talk/closing/<int:code>/", endpoints.closing.as_asgi()),
    path("talk/cutting/<int:frames>/", endpoints.cutting.as_asgi()),
    path("talk/occupied/<str:occupation>/", endpoints.occupied.as_asgi()),
    path("talk/quiet/", endpoints.quiet.as_asgi()),
    path("talk/parameters/<str:room>/<int:floor>/", endpoints.parameters.as_asgi()),
    path("talk/tokens/", endpoints.tokens.as_asgi()),
    path("talk/tokens-sync/", endpoints.tokens_sync.as_asgi()),
    path("talk/partners/", endpoints.partners.as_asgi()),
    path("talk/dialects/", endpoints.dialects.as_asgi()),
    path("talk/uncompressed/", endpoints.uncompressed.as_asgi()),
    path("talk/small/", endpoints.small.as_asgi()),
    path("talk/limited/", endpoints.limited.as_asgi()),
    path("talk/beating/", endpoints.beating.as_asgi()),
    path("talk/silent/", endpoints.silent.as_asgi()),
    path("talk/mistaken/", endpoints.mistaken.as_asgi()),
    path("talk/clogged/", endpoints.clogged.as_asgi()),
    path("talk/overrun/", endpoints.overrun.as_asgi()),
    path("talk/sequence/", endpoints.sequence.as_asgi()),
    path("talk/overlapping/", endpoints.overlapping.as_asgi()),
    path("talk/tally/", endpoints.tally.as_asgi()),
    path("talk/users/", endpoints.users.as_asgi()),
    path("talk/clock/", endpoints.clock.as_asgi()),
    path("talk/vitals/", endpoints.vitals.as_asgi()),
    # Streams of bytes
    path("bytes/piping/", endpoints.piping.as_asgi()),
    path("bytes/uploading/", endpoints.uploading.as_asgi()),
    path("bytes/records/", endpoints.records.as_asgi()),
    path("bytes/summing/", endpoints.summing.as_asgi()),
    path("bytes/gated/<str:gate>/", endpoints.gated.as_asgi()),
    path("bytes/opening/<str:gate>/", endpoints.opening.as_asgi()),
    path("bytes/stalling/", endpoints.stalling.as_asgi()),
    path("bytes/downloading/", endpoints.downloading.as_asgi()),
    path("bytes/hasty/", endpoints.hasty.as_asgi()),
    path("bytes/withdrawing/", endpoints.withdrawing.as_asgi()),
]
