// Sets a new password with the token of a letter. The token stays behind the `#` until it is used up. All text is set as text.
"use strict";

const RESETS = "api/v1/password-resets";
const LETTER = "New password";

function at(id) {
  return document.getElementById(id);
}

// A mail program may have escaped what lies behind the `#`.
function token() {
  return new URLSearchParams(location.hash.slice(1)).get("token") || "";
}

// One of the states, and the focus where it begins.
function show(id, title, focused) {
  for (const section of document.querySelectorAll("section")) section.hidden = section.id !== id;
  document.title = `${title} – Callreel`;
  (focused || at(id).querySelector("h1")).focus();
}

function forgetToken() {
  history.replaceState(null, "", location.pathname);
}

function sentence(text) {
  const whole = text.charAt(0).toUpperCase() + text.slice(1);
  return /[.!?]$/.test(whole) ? whole : `${whole}.`;
}

function tell(form, input, text) {
  at(`${form}-problem`).textContent = text;
  if (text && input) input.setAttribute("aria-invalid", "true");
  else for (const one of at(`${form}-form`).querySelectorAll("input")) one.removeAttribute("aria-invalid");
  if (text) (input || at(`${form}-form`).querySelector("button")).focus();
}

function later(answer) {
  const seconds = Number(answer.headers.get("Retry-After")) || 60;
  if (seconds > 7200) return `in ${Math.ceil(seconds / 3600)} hours`;
  return seconds > 90 ? `in ${Math.ceil(seconds / 60)} minutes` : `in ${seconds} seconds`;
}

// What an answer means for somebody who is no program.
async function problem(answer) {
  const told = (await answer.json().catch(() => null)) || {};
  const detail = told.detail ? ` ${sentence(told.detail)}` : "";
  if (answer.status === 429) return `There were too many attempts. Try again ${later(answer)}.${detail}`;
  if (answer.status >= 500) return `Callreel cannot do that at the moment. Try again ${later(answer)}.`;
  return sentence(told.detail || told.title || "That did not work. Try again, or ask an administrator for a new password.");
}

async function send(method, body) {
  try {
    return await fetch(RESETS, {
      method, body: JSON.stringify(body), headers: { "Content-Type": "application/json" }, credentials: "omit", cache: "no-store",
    });
  } catch {
    return null;
  }
}

// One request at a time, however often the button is pressed.
function submits(form, work) {
  const button = at(`${form}-form`).querySelector("button");
  at(`${form}-form`).addEventListener("submit", async (event) => {
    event.preventDefault();
    if (button.getAttribute("aria-disabled") === "true") return;
    button.setAttribute("aria-disabled", "true");
    tell(form, null, "");
    try {
      await work();
    } finally {
      button.removeAttribute("aria-disabled");
    }
  });
}

const UNREACHED = "Callreel cannot be reached. Look whether you are connected, and try again.";

async function choose() {
  const password = at("password");
  if (!password.value) {
    tell("choose", password, "Type the new password first.");
    return;
  }
  const answer = await send("PUT", { token: token(), password: password.value });
  if (!answer) {
    tell("choose", null, UNREACHED);
  } else if (answer.ok) {
    forgetToken();
    at("choose-form").reset();
    show("done", "Your password is set");
  } else if (answer.status === 410) {
    forgetToken();
    at("choose-form").reset();
    show("gone", "This link does not open any more");
  } else {
    tell("choose", answer.status === 422 ? password : null, await problem(answer));
  }
}

async function ask() {
  const login = at("login");
  if (!login.value.trim()) {
    tell("ask", login, "Type your login or e-mail address first.");
    return;
  }
  const body = { login: login.value.trim() };
  if (at("tenant").value.trim()) body.tenant = at("tenant").value.trim();
  const answer = await send("POST", body);
  if (!answer) tell("ask", null, UNREACHED);
  else if (answer.ok) show("asked", "Look into your mailbox");
  else tell("ask", answer.status === 422 ? login : null, await problem(answer));
}

function begin() {
  if (token()) {
    show("choose", LETTER, at("password"));
  } else {
    at("gone-why").textContent = "The link in the letter is longer: it may have been cut. Open it again as a whole, or have another letter:";
    at("gone").querySelector("h1").textContent = "Something of the link is missing";
    show("gone", LETTER);
  }
}

submits("choose", choose);
submits("ask", ask);
at("show").addEventListener("change", () => {
  at("password").type = at("show").checked ? "text" : "password";
});
// Another letter may be opened in the same window.
window.addEventListener("hashchange", () => {
  if (token()) begin();
});
begin();
