// The live tail of a log: new records are added to those that are there, which stay where they are, until somebody pauses it.

const ROWS_MAX = 500;
const tail = (root = document) => root.querySelector("#main [data-tail]");
const rows = (list) => [...list.querySelectorAll(":scope > li[data-key]")];
const top = (node) => node.getBoundingClientRect().top;

// Two records of one process may be the same to the millisecond: each row that is there answers for one of them.
const unknown = (list, fresh) => {
	const known = new Map();
	const left = (row) => known.get(row.dataset.key) ?? 0;
	for (const row of rows(list)) known.set(row.dataset.key, left(row) + 1);
	return rows(fresh).filter((row) => { const count = left(row); known.set(row.dataset.key, count - 1); return count <= 0; });
};

const append = (list, fresh) => {
	const there = rows(list);
	const added = unknown(list, fresh);
	const missed = there.length > 0 && added.length >= Number(fresh.dataset.most);
	for (const row of there) row.classList.remove("new");
	for (const row of added.reverse()) {
		row.classList.add("new");
		list.insertBefore(row, rows(list).find((other) => Number(other.dataset.at) <= Number(row.dataset.at)) ?? null);
	}
	if (missed) {
		const gap = document.createElement("li");
		gap.className = "muted";
		gap.textContent = "More records were written here than one look shows: choose this stretch of time to see them.";
		list.insertBefore(gap, there[0]);
	}
	const excess = rows(list)[ROWS_MAX];
	while (excess?.nextSibling) excess.nextSibling.remove();
	excess?.remove();
};

const pause = () => document.querySelector("#main [data-pause]");
const reveal = () => { if (pause()) pause().hidden = false; };

// What is about to be shown: it gets the list that is there instead of its own.
addEventListener("fresh", ({ detail: { fresh, how } }) => {
	const list = tail();
	const next = tail(fresh);
	if (how !== "live" || !list || !next) { queueMicrotask(reveal); return; }
	const focus = list.contains(document.activeElement) ? document.activeElement : null;
	const row = top(list) < 0 ? rows(list).find((row) => row.getBoundingClientRect().bottom > 0) : null;
	const before = row ? top(row) : 0;
	append(list, next);
	list.dataset.most = next.dataset.most;
	next.replaceWith(list);
	queueMicrotask(() => {
		reveal();
		focus?.focus({ preventScroll: true });
		if (row?.isConnected) scrollBy(0, top(row) - before);
	});
});

addEventListener("click", (event) => {
	const button = event.target.closest?.("[data-pause]");
	if (!button) return;
	const paused = document.body.dataset.live !== undefined;
	if (paused) delete document.body.dataset.live;
	else document.body.dataset.live = "";
	button.setAttribute("aria-pressed", String(paused));
	button.textContent = paused ? "Go on" : "Pause";
	// Whoever goes on wants what came meanwhile.
	if (!paused) document.dispatchEvent(new Event("visibilitychange"));
});

reveal();
