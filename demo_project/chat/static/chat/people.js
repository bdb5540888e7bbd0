// Who is here.

import { element } from "../demo/log.js";
import { titled } from "./words.js";

export function showPeople(people, me) {
  document.getElementById("people").replaceChildren(...people.map((person) => row(person, me)));
}

function row({ name, tabs }, me) {
  const made = element("li", name, "");
  const face = element("span", "face", name[0].toUpperCase());
  face.setAttribute("aria-hidden", "true");
  const notes = [name === me.name && "you", tabs > 1 && `${tabs} tabs`].filter(Boolean).join(", ");
  made.append(face, element("strong", "", titled(name)), element("span", "quiet", notes));
  return made;
}
