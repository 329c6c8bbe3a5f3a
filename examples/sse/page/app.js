"use strict";
// Follows one topic: "quotes", or what ?topic= says.

const topic = new URLSearchParams(location.search).get("topic") ?? "quotes";
const memory = "sse:" + topic; // where a reload finds what was seen
const trendLength = 60, gapsShown = 5;

// What was seen so far. A reload goes on from here, so that it costs nothing.
const seen = restore() ?? {
  position: "",      // of the newest message, at first of the one before it
  received: 0,
  missed: 0,         // at least
  uncounted: false,
  quotes: new Map(), // by symbol: price, first, stale, trend (null: a gap); a Map, since a symbol may be "__proto__"
  gaps: [],          // the newest first
};

let source, link = "connecting", upstream = "connected", rendering = false;

connect();
render();
addEventListener("pagehide", () => sessionStorage.setItem(memory, JSON.stringify({ ...seen, quotes: [...seen.quotes] })));
// A page that comes back from the browser's cache would find itself closed.
addEventListener("pageshow", (e) => { if (e.persisted) location.reload(); });

function restore() {
  try {
    const kept = JSON.parse(sessionStorage.getItem(memory));
    return kept && { ...kept, quotes: new Map(kept.quotes) };
  } catch {
    return null;
  }
}

function connect() {
  // After a break the browser returns by itself, with the header
  // Last-Event-ID. After a reload it knows no more, so the page says it.
  const url = "/events/" + topic.split("/").map(encodeURIComponent).join("/");
  source = new EventSource(seen.position ? url + "?after=" + encodeURIComponent(seen.position) : url);
  source.onopen = () => { link = "open"; render(); };
  source.onerror = () => {
    link = "broken";
    // An answer other than 200 ends the browser's attempts: go on ourselves.
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 2000 + 1000 * Math.random());
    render();
  };
  source.onmessage = (e) => { message(JSON.parse(e.data), e.lastEventId); render(); };
  source.addEventListener("gap", (e) => { gap(JSON.parse(e.data)); render(); });
  source.addEventListener("state", (e) => {
    upstream = JSON.parse(e.data).state;
    seen.position ||= e.lastEventId; // where a new page begins, for a reload before the first message
    render();
  });
}

function message(quote, position) {
  seen.position = position;
  seen.received++;
  if (quote === null) return;
  if (!seen.quotes.has(quote.symbol)) seen.quotes.set(quote.symbol, { first: quote.price, trend: [] });
  const q = seen.quotes.get(quote.symbol);
  q.price = quote.price;
  q.stale = false;
  q.trend.push(quote.price);
  if (q.trend.length > trendLength) q.trend.shift();
}

// gap marks every price: any of them may have changed in what is missing.
function gap(g) {
  seen.missed += g.lost;
  seen.uncounted ||= !g.exact;
  seen.gaps.unshift({ ...g, at: new Date().toLocaleTimeString() });
  seen.gaps.length = Math.min(seen.gaps.length, gapsShown);
  for (const q of seen.quotes.values()) {
    q.stale = true;
    if (q.trend.at(-1) !== null) q.trend.push(null);
  }
}

// render shows seen, at most once per frame however much arrives.
function render() {
  if (rendering) return;
  rendering = true;
  requestAnimationFrame(() => { rendering = false; draw(); });
}

function draw() {
  const state = document.getElementById("state");
  [state.dataset.state, state.textContent] =
    link === "connecting" ? ["connecting", "connecting"] :
    link === "broken" ? ["offline", "no connection to the server, trying again"] :
    upstream === "reconnecting" ? ["delayed", "the server is reconnecting to the quotes"] :
    ["live", "live"];
  show("topic", topic);
  show("received", seen.received);
  show("missed", (seen.uncounted ? "at least " : "") + seen.missed);
  show("position", seen.position || "-");
  const symbols = [...seen.quotes.keys()].sort();
  if (symbols.length > 0) document.getElementById("quotes").replaceChildren(...symbols.map(row));
  document.getElementById("gaps").replaceChildren(...seen.gaps.map(gapLine));
}

function show(id, text) { document.getElementById(id).textContent = text; }

function row(symbol) {
  const q = seen.quotes.get(symbol), change = 100 * (q.price / q.first - 1);
  const tr = element("tr", { className: q.stale ? "stale" : "" });
  const sign = change > 0 ? "▲ +" : change < 0 ? "▼ −" : "";
  tr.append(
    element("td", { className: "symbol", textContent: symbol }),
    element("td", { className: "price number", textContent: q.price.toFixed(2) }),
    element("td", { className: "change number " + (change > 0 ? "up" : change < 0 ? "down" : ""), textContent: sign + Math.abs(change).toFixed(2) + " %" }),
    element("td", { className: "trend" }));
  tr.lastChild.append(trend(q.trend));
  return tr;
}

// trend draws the last prices, with a bar in place of each gap.
function trend(points) {
  const prices = points.filter((p) => p !== null);
  const low = Math.min(...prices), high = Math.max(...prices);
  const y = (p) => high === low ? 14 : 26 - 24 * (p - low) / (high - low);
  const svg = drawing("svg", { viewBox: `0 0 ${trendLength - 1} 28`, preserveAspectRatio: "none", "aria-hidden": "true" });
  let path = "", pen = "M";
  points.forEach((p, i) => {
    if (p === null) {
      svg.append(drawing("line", { x1: i, x2: i, y1: 0, y2: 28 }));
      pen = "M";
      return;
    }
    path += `${pen}${i} ${y(p)}`;
    if (pen === "M") path += `L${i} ${y(p)}`; // a dot, if it stays alone
    pen = "L";
  });
  svg.append(drawing("path", { d: path }));
  return svg;
}

function gapLine(g) {
  const count = g.exact ? g.lost : g.lost > 0 ? "At least " + g.lost : "An unknown number of";
  const missing = `${count} ${g.exact && g.lost === 1 ? "message" : "messages"} missing`;
  // After a reset nobody can count: what is behind it has nothing to do with
  // what was before.
  const li = element("li", { className: g.cause, textContent: g.cause === "reset" ? `The topic began anew. ${missing}.` : `${missing} (${g.cause})` });
  li.append(element("span", { textContent: `after ${g.after} · ${g.at}` }));
  return li;
}

function element(name, properties) { return Object.assign(document.createElement(name), properties); }

function drawing(name, attributes) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  return e;
}
