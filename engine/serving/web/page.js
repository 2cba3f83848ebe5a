"use strict";
// What is liked is kept on the page alone: nothing is stored, and nothing is asked of another server.
const at = (id) => document.getElementById(id);
const liked = new Map();
let asked = 0;

async function ask(path, body) {
  const options = body && { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) };
  const response = await fetch(path, options || undefined);
  const found = await response.json();
  if (!response.ok) throw new Error(found.error || response.statusText);
  return found;
}

function say(text) { at("status").textContent = text; }

function button(text, label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = text;
  made.setAttribute("aria-label", label);
  made.addEventListener("click", act);
  return made;
}

function listed(parent, ...children) {
  const item = document.createElement("li");
  item.append(...children);
  parent.append(item);
}

const shown = (item) => item.title || String(item.item);

// What added most to the score; without ratings there is no mean, and users took items.
function why(item) {
  const did = item.predicted === null ? "took" : "rated";
  const neighbors = `${item.n_raters} of the ${item.n_neighbors} people nearest to you ${did} it`;
  if (item.reason === "neighbors") return item.mean_rating === null ? neighbors : `${neighbors}, ${item.mean_rating.toFixed(1)} on average`;
  if (item.reason === "item") {
    const gave = item.reason_rating === null ? "" : `, which you gave ${item.reason_rating}`;
    return `goes with ${item.reason_title || item.reason_item}${gave}`;
  }
  if (item.reason === "vectors") return `fits your taste as a whole; ${neighbors}`;
  return `popular: ${item.n_ratings} people ${did} it`;
}

function show(list, head) {
  const best = at("best");
  best.replaceChildren();
  for (const item of list) {
    const line = document.createElement("div"), name = document.createElement("span"), rating = document.createElement("span");
    line.className = "line"; rating.className = "rating";
    name.textContent = shown(item);
    if (item.predicted !== null) rating.textContent = item.predicted.toFixed(1);
    line.append(name, rating, button("Like", `Like ${shown(item)}`, () => like(item)));
    const reason = document.createElement("p");
    reason.className = "why"; reason.textContent = why(item);
    listed(best, line, reason);
  }
  at("best-head").textContent = head;
  at("best-part").hidden = list.length === 0;
}

async function follow(request, head, before = "") {
  const mine = ++asked;
  try {
    const found = await request;
    if (mine !== asked) return;  // a later one has been asked meanwhile
    const list = found.lists[0].items;
    show(list, head);
    say(list.length ? `${list.length} recommendations` : "Nothing to recommend");
  } catch (error) {
    if (mine === asked) { show([], head); say(before + error.message); }
  }
}

function refresh() {
  const chips = at("liked");
  chips.replaceChildren();
  for (const [id, title] of liked) listed(chips, button(`${title} ✕`, `Do not like ${title} any more`, () => { liked.delete(id); refresh(); at("text").focus(); }));
  at("liked-part").hidden = liked.size === 0;
  if (liked.size === 0) { asked++; show([], ""); say(""); return; }
  follow(ask("recommend", { likes: [...liked.keys()], k: 20 }), "For you");
}

function like(item) {
  liked.set(item.item, shown(item));
  at("found").replaceChildren();
  at("text").value = "";
  refresh();
  at("text").focus();
}

let waiting;
async function look(exactly) {
  const text = at("text").value.trim(), found = at("found");
  if (!text) { found.replaceChildren(); return; }
  try {
    const items = await ask(`items?${new URLSearchParams({ q: text, k: 8 })}`);
    if (at("text").value.trim() !== text) return;
    const place = [...found.querySelectorAll("button")].indexOf(document.activeElement);
    found.replaceChildren();
    for (const item of items) listed(found, button(shown(item), `Like ${shown(item)}`, () => like(item)));
    listed(found, button(`Recommendations for user ${text}`, `Recommendations for user ${text}`, () => ofUser(text)));
    const made = found.querySelectorAll("button");
    if (place >= 0) made[Math.min(place, made.length - 1)].focus();  // whoever is in the list stays there
    if (exactly && items.length === 0) ofUser(text, `No title has "${text}" in it, and there is `);
  } catch (error) { say(error.message); }
}

function ofUser(user, before = "") {
  liked.clear();
  at("liked").replaceChildren();
  at("liked-part").hidden = true;
  at("found").replaceChildren();
  follow(ask(`recommend?${new URLSearchParams({ user, k: 20 })}`), `For user ${user}`, before);
}

at("text").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(look, 150); });
at("search").addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(waiting); look(true); });
