// Pawang's dashboard with a script: live, charts that are read off and zoomed, keys. Everything is readable without it.

const $ = (query, root = document) => root.querySelector(query);
const $$ = (query, root = document) => [...root.querySelectorAll(query)];
const SVG = "http://www.w3.org/2000/svg";
const make = (name, attributes = {}, text = "") => {
	const node = name.startsWith("svg:") ? document.createElementNS(SVG, name.slice(4)) : document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
	if (text) node.textContent = text;
	return node;
};

// Words, as the server writes them

const UTC = { timeZone: "UTC" };
const clock = (ms, zone) => new Date(ms).toLocaleTimeString("en-GB", { hour12: false, ...zone });
const day = (ms, zone) => new Date(ms).toLocaleDateString("en-GB", { day: "numeric", month: "short", ...zone });
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
const abroad = (ms) => new Date(ms).getTimezoneOffset() !== 0;
const local = (ms) => `${day(ms)} ${clock(ms)} ${zone}`;

const short = (value) => {
	const size = Math.abs(value);
	if (size > 0 && size < 0.005) return value > 0 ? "<0.01" : ">-0.01";
	const digits = Number.isInteger(value) || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2;
	return value.toLocaleString("en-US", { maximumFractionDigits: digits });
};
const scaled = (value, base, names, from) => {
	let index = 0;
	if (Math.abs(value) >= from) while (Math.abs(value) >= base * 0.9995 && index + 1 < names.length) { value /= base; index += 1; }
	return [value, names[index]];
};
const number = (value) => { const [amount, name] = scaled(value, 1000, ["", " k", " M", " G", " T"], 9999.5); return short(amount) + name; };
const bytes = (value) => {
	const [amount, name] = scaled(value, 1024, ["B", "kB", "MB", "GB", "TB", "PB"], 1023.5);
	return `${name === "B" || amount >= 100 ? Math.round(amount) : amount.toFixed(1)} ${name}`;
};
const duration = (seconds) => {
	if (seconds > 0 && seconds < 0.001) return `${short(seconds * 1e6)} µs`;
	if (seconds > 0 && seconds < 1) return `${short(seconds * 1e3)} ms`;
	if (seconds < 10) return `${short(seconds)} s`;
	const s = Math.floor(seconds);
	const pair = (a, b, large, little) => `${Math.floor(s / a)} ${large}${Math.floor((s % a) / b) ? ` ${Math.floor((s % a) / b)} ${little}` : ""}`;
	return s < 120 ? `${s} s` : s < 7200 ? pair(60, 1, "min", "s") : s < 172800 ? pair(3600, 60, "h", "min") : pair(86400, 3600, "d", "h");
};
const age = (s) => (s < 100 ? `${Math.floor(s)} s` : s < 6000 ? `${Math.floor(s / 60)} min` : s < 172800 ? `${Math.floor(s / 3600)} h` : `${Math.floor(s / 86400)} d`);
const quantity = (value, unit) => {
	if (value === null || value === undefined) return "-";
	if (unit === "bytes") return bytes(value);
	if (unit === "bytes/s") return `${bytes(value)}/s`;
	if (unit === "s") return duration(value);
	if (unit === "ms") return Math.abs(value) < 1000 ? `${short(value)} ms` : duration(value / 1000);
	if (unit === "%") return `${short(value)} %`;
	return number(value) + (unit.startsWith("/") ? unit : "");
};

// Charts: one cursor for all of a page, reading off, zooming

let charts = [];
let cursor = null;

const times = (line, before) => {
	const [first, ...steps] = line.t ?? [];
	if (first === undefined) return before;
	let at = first;
	return line.v.map((_, index) => {
		if (index > 0) at += steps.length === 1 ? steps[0] : steps[index - 1];
		return at * 1000;
	});
};

const nearest = (list, at) => {
	let low = 0;
	let high = list.length - 1;
	while (low < high) {
		const middle = (low + high) >> 1;
		if (list[middle] < at) low = middle + 1; else high = middle;
	}
	return low > 0 && at - list[low - 1] < list[low] - at ? low - 1 : low;
};

const readCharts = () => {
	charts = $$("figure[data-chart]").map((figure) => {
		const data = JSON.parse($("script", figure).textContent);
		let before = [];
		for (const line of data.l) before = line.at = times(line, before);
		return { figure, data, area: $(".area", figure), rows: $$(".legend tbody tr", figure), head: $("[data-now]", figure) };
	});
};

const point = (chart, at) => {
	const { data, area, rows, head } = chart;
	$$(".cursor, .dot, .readout", area).forEach((node) => node.remove());
	const inside = at !== null && at >= data.f && at <= data.e;
	head.textContent = inside ? clock(at, { ...UTC, hour: "2-digit", minute: "2-digit", ...(data.e - data.f > 6 * 36e5 ? {} : { second: "2-digit" }) }) : head.dataset.now;
	const across = `${(((at - data.f) / (data.e - data.f)) * 100).toFixed(2)}%`;
	if (inside) area.append(make("svg:line", { class: "cursor", x1: across, x2: across, y1: 8, y2: 136 }));
	let below = 0;
	data.l.forEach((line, index) => {
		const cell = rows[index].cells[1];
		cell.dataset.last ??= cell.textContent;
		if (!inside) { cell.textContent = cell.dataset.last; return; }
		const found = nearest(line.at, at);
		const step = line.at.length > 1 ? line.at[1] - line.at[0] : 6e4;
		const value = found >= 0 && Math.abs(line.at[found] - at) <= step ? line.v[found] : null;
		cell.textContent = value === null ? "-" : quantity(value, data.u);
		if (value === null || value === undefined) return;
		const height = data.s ? (below += value) : value;
		const y = 136 - Math.min(1, Math.max(0, (height - data.y[0]) / (data.y[1] - data.y[0]))) * 128;
		const swatch = $(".swatch", rows[index]).className.replace("swatch", "dot");
		area.append(make("svg:circle", { class: swatch, cx: across, cy: y.toFixed(1), r: 3 }));
	});
};

const pointAll = (at, over) => {
	cursor = at;
	for (const chart of charts) point(chart, at);
	const chart = charts.find(({ area }) => area === over);
	if (!chart || at === null) return;
	const share = (at - chart.data.f) / (chart.data.e - chart.data.f);
	const text = `${day(at, UTC)} ${clock(at, UTC)} UTC${abroad(at) ? `  ·  ${clock(at)} local` : ""}`;
	chart.area.append(make("svg:text", { class: "readout", x: `${share * 100}%`, y: 2, "text-anchor": share < 0.25 ? "start" : share > 0.75 ? "end" : "middle" }, text));
};

const timeAt = (event, area) => {
	const data = charts.find((chart) => chart.area === area)?.data;
	if (!data) return null;
	const box = area.getBoundingClientRect();
	return data.f + Math.min(1, Math.max(0, (event.clientX - box.left) / box.width)) * (data.e - data.f);
};

let brush = null;
const areaOf = (event) => event.target.closest?.(".plot > .area");

addEventListener("pointermove", (event) => {
	const area = brush?.area ?? areaOf(event);
	if (!area) { if (cursor !== null) pointAll(null); return; }
	const at = timeAt(event, area);
	pointAll(at, area);
	if (!brush) return;
	const box = area.getBoundingClientRect();
	const x = Math.min(Math.max(event.clientX - box.left, 0), box.width);
	brush.box.setAttribute("x", Math.min(x, brush.x));
	brush.box.setAttribute("width", Math.abs(x - brush.x));
	brush.wide = Math.abs(x - brush.x) > 6;
});
addEventListener("pointerdown", (event) => {
	const area = areaOf(event);
	if (!area || event.button !== 0 || event.pointerType === "touch") return;
	event.preventDefault();
	const x = event.clientX - area.getBoundingClientRect().left;
	brush = { area, x, at: timeAt(event, area), wide: false, box: make("svg:rect", { class: "brush", x, y: 8, width: 0, height: 128 }) };
	area.append(brush.box);
});
addEventListener("pointerup", (event) => {
	if (!brush) return;
	const { at, area, box, wide } = brush;
	brush = null;
	box.remove();
	if (wide) zoom(at, timeAt(event, area));
});
addEventListener("pointercancel", () => { brush?.box.remove(); brush = null; });
addEventListener("dblclick", (event) => { if (areaOf(event)) back(); });
addEventListener("focusout", () => { if (cursor !== null) pointAll(null); });

const zoom = (a, b) => {
	const [from, to] = [Math.min(a, b), Math.max(a, b, Math.min(a, b) + 3e4)];
	const url = new URL(location);
	for (const name of ["range", "at", "before"]) url.searchParams.delete(name);
	url.searchParams.set("from", new Date(from).toISOString().replace(/\.\d+/, ""));
	url.searchParams.set("to", new Date(to).toISOString().replace(/\.\d+/, ""));
	go(url);
};
const back = () => { const link = $("[data-back]"); if (link) go(link.href); };

// Going somewhere, and staying up to date, without losing one's place

let loading = null;

const load = async (url, how) => {
	loading?.abort();
	loading = new AbortController();
	const answer = await fetch(url, { signal: loading.signal, headers: { accept: "text/html" } });
	if (answer.redirected && new URL(answer.url).pathname !== new URL(url, location).pathname) { location = answer.url; return; }
	const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
	if (!$("#main", fresh) || !$("#top", fresh)) { location = url; return; }
	if (how === "live" && held()) return;
	show(fresh, how);
};

const mark = (node) => node.id || $(":scope > summary", node)?.textContent || "";
// What has the focus is known again by what it is: there may be more or less before it by then.
const focusable = () => [...$$("a, button, input, select, summary, [tabindex]", $("#main"))];
const called = (node) => `${node.tagName} ${node.id || node.name || node.textContent.trim()}`;
const place = (node) => {
	const all = focusable();
	if (!all.includes(node)) return null;
	const name = called(node);
	return { name, nth: all.filter((other) => called(other) === name).indexOf(node) };
};

const show = (fresh, how) => {
	const main = $("#main");
	const open = new Set($$("details[open]", main).map(mark));
	const focus = place(document.activeElement);
	const scrolled = $$(".wide, .table-scroll", main).map((node) => node.scrollLeft);
	const chosen = $(".chosen a", main)?.getAttribute("href");
	dispatchEvent(new CustomEvent("fresh", { detail: { fresh, how } }));
	document.title = fresh.title;
	$("#icon").href = $("#icon", fresh).getAttribute("href");
	main.className = $("#main", fresh).className;
	main.replaceChildren(...$("#main", fresh).childNodes);
	for (const id of ["#rail", "#seen", "#estate", "#notices"]) $(id).replaceChildren(...$(id, fresh).childNodes);
	$("#seen").className = $("#seen", fresh).className;
	if (!$(".ranges").contains(document.activeElement) || how !== "live") $(".ranges").replaceChildren(...$(".ranges", fresh).childNodes);
	for (const key of Object.keys(document.body.dataset)) delete document.body.dataset[key];
	Object.assign(document.body.dataset, $("body", fresh).dataset);
	if (how === "live") for (const node of $$("details", main)) if (open.has(mark(node))) node.open = true;
	$$(".wide, .table-scroll", main).forEach((node, index) => { node.scrollLeft = scrolled[index] ?? 0; });
	settle();
	const same = chosen && $$("a", main).find((link) => link.getAttribute("href") === chosen);
	if (same) same.closest("tr, li")?.classList.add("chosen");
	if (focus) focusable().filter((node) => called(node) === focus.name)[focus.nth]?.focus({ preventScroll: true });
	if (cursor !== null) pointAll(cursor, $(".area:hover"));
	if (how === "live") $(".beat")?.classList.add("new");
};

const go = async (url, how = "push") => {
	try {
		await load(url, how);
		if (how === "push") history.pushState(null, "", url);
	} catch (error) {
		if (error.name !== "AbortError") location = url;
	}
};
addEventListener("popstate", () => go(location.href, "pop"));

// Nothing changes under a selection, a half-written form, a brush or an open menu.
const dirty = (input) => {
	if (input.options) return input.selectedIndex !== Math.max(0, [...input.options].findIndex((option) => option.defaultSelected));
	return input.type === "checkbox" ? input.checked !== input.defaultChecked : input.value !== input.defaultValue;
};
const held = () =>
	document.body.dataset.live === undefined || document.hidden || brush ||
	(!getSelection().isCollapsed && $("#main").contains(getSelection().anchorNode)) ||
	$$("#main input:not([type=hidden]), #main textarea, #main select").some(dirty) || $("#main select:focus");

let due = null;
const refresh = () => {
	due ??= setTimeout(async () => {
		due = null;
		if (held()) return;
		try { await load(location.href, "live"); } catch { /* the stream says when the connection is lost */ }
	}, 400);
};

const listen = () => {
	let lost = null;
	const source = new EventSource("/events");
	source.onopen = () => { clearTimeout(lost); lost = null; if ($("#lost")) { $("#lost").remove(); refresh(); } };
	source.addEventListener("change", (event) => {
		const names = JSON.parse(event.data).instances;
		const own = location.pathname.match(/^\/instances\/([^/]+)/)?.[1];
		if (!own || !names.length || names.includes(decodeURIComponent(own))) refresh();
	});
	source.onerror = () => {
		lost ??= setTimeout(() => {
			if ($("#lost")) return;
			const notice = make("div", { id: "lost", class: "notice warning", role: "alert" });
			notice.append(make("p", {}, `No connection to Pawang since ${clock(Date.now(), UTC)} UTC: this page is as it was then. It goes on by itself.`));
			$("#notices").before(notice);
		}, 4000);
		// A browser gives up for good on an answer that is no stream.
		if (source.readyState === 2) { source.close(); setTimeout(listen, 15000); }
	};
	addEventListener("pagehide", () => source.close());
};

// Ages go on, by the server's clock

let ahead = 0;
const tick = () => {
	for (const node of $$("time[data-ago]")) {
		const text = `${age(Math.max(0, (Date.now() + ahead - Date.parse(node.dateTime)) / 1000))} ago`;
		if (node.textContent !== text) node.textContent = text;
	}
	const seen = $("#seen time[data-ago]");
	if (seen && Date.now() + ahead - Date.parse(seen.dateTime) > 60000) { $("#seen").classList.add("stale"); $("#main").classList.add("stale"); }
};

addEventListener("pointerover", (event) => {
	const node = event.target.closest?.("time[datetime]");
	const at = node && Date.parse(node.dateTime);
	if (!node || node.dataset.local || !abroad(at)) return;
	node.dataset.local = "1";
	node.title = `${node.title}\n${local(at)}`.trim();
});

// Links, forms, tables: what is on the same page is exchanged in place

addEventListener("click", (event) => {
	if (event.defaultPrevented || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
	const copy = event.target.closest("[data-copy]");
	if (copy) { copyText(copy); return; }
	const link = event.target.closest("a[href]");
	for (const menu of $$("details[data-menu][open]")) if (!menu.contains(event.target)) menu.open = false;
	if (link && link.origin === location.origin && link.pathname === location.pathname && link.search !== location.search && !link.hash) {
		event.preventDefault();
		go(link.href);
	}
});
addEventListener("submit", (event) => {
	const form = event.target;
	if (form.elements.by?.value) localStorage.setItem("by", form.elements.by.value);
	if (form.method !== "get" || new URL(form.action).pathname !== location.pathname) return;
	event.preventDefault();
	const url = new URL(form.action);
	for (const [key, value] of new FormData(form)) if (value) url.searchParams.append(key, value);
	for (const input of $$("input", form)) input.defaultValue = input.value;
	go(url.href);
});
addEventListener("change", (event) => { if (event.target.matches("form.filter select")) event.target.form.requestSubmit(); });

const reveal = () => $$("[data-copy]").forEach((button) => { button.hidden = false; });

const copyText = async (button) => {
	const code = $("code, pre", button.parentElement);
	try {
		await navigator.clipboard.writeText(code.textContent);
	} catch {
		// Without TLS browsers have no clipboard to write to.
		getSelection().selectAllChildren(code);
		document.execCommand("copy");
		getSelection().removeAllRanges();
	}
	button.textContent = "Copied";
	setTimeout(() => { button.textContent = "Copy"; }, 1500);
};

// Keys

const KEYS = [
	["j k", "next and previous row"], ["Enter", "open the row"], ["/", "filter or search"], [", .", "earlier and later"], ["0", "back to now"],
	["a", "acknowledge the chosen finding, or all of the incident"], ["m", "mute the chosen finding"], ["Ctrl K", "go to anything"], ["Esc", "close, let go"], ["?", "this help"],
];
const places = () => $$("#rail [data-key]").map((link) => [link.firstChild.textContent.trim(), link.href, link.dataset.key]);

const dialog = (id, title) => {
	$$("dialog").forEach((open) => open.remove());
	const node = make("dialog", { id, "aria-label": title });
	node.addEventListener("click", (event) => { if (event.target === node) node.close(); });
	node.addEventListener("close", () => node.remove());
	document.body.append(node);
	return node;
};

const help = () => {
	const node = dialog("help", "Keys");
	const list = make("dl");
	for (const [keys, what] of [...places().map(([name, , keys]) => [keys, name]), ...KEYS]) {
		const term = make("dt");
		for (const key of keys.split(" ")) term.append(make("kbd", {}, key), " ");
		list.append(term, make("dd", {}, what));
	}
	node.append(make("h2", {}, "Keys"), list);
	node.showModal();
};

const palette = () => {
	const { instances, keep } = JSON.parse($("#estate").textContent);
	const all = places();
	for (const name of instances) all.push([name, `/instances/${encodeURIComponent(name)}${keep}`, "instance"]);
	const node = dialog("palette", "Go to");
	const input = make("input", { type: "search", placeholder: "Go to an instance or a page", "aria-label": "Go to", role: "combobox", "aria-expanded": "true", "aria-controls": "places" });
	const list = make("ul", { id: "places" });
	let index = 0;
	const fill = () => {
		const words = input.value.toLowerCase().split(/\s+/);
		const found = all.filter(([name]) => words.every((word) => name.toLowerCase().includes(word))).slice(0, 40);
		list.replaceChildren(...found.map(([name, href, hint], i) => {
			const item = make("li");
			const link = make("a", { href, "aria-selected": String(i === index) }, name);
			link.append(make("small", {}, hint));
			item.append(link);
			return item;
		}));
	};
	input.addEventListener("input", () => { index = 0; fill(); });
	input.addEventListener("keydown", (event) => {
		const count = list.children.length;
		if (event.key === "ArrowDown") index = Math.min(index + 1, count - 1);
		else if (event.key === "ArrowUp") index = Math.max(index - 1, 0);
		else if (event.key === "Enter") { $("a", list.children[index] ?? list)?.click(); return; }
		else return;
		event.preventDefault();
		fill();
		list.children[index]?.scrollIntoView({ block: "nearest" });
	});
	node.append(input, list);
	fill();
	node.showModal();
	input.focus();
};

const move = (by) => {
	const rows = $$("#main tbody tr, #main .findings > li").filter((row) => $("a[href]", row) && row.offsetParent && !row.closest(".legend, .values"));
	const at = rows.findIndex((row) => row.classList.contains("chosen"));
	const next = rows[at < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, at + by))];
	rows[at]?.classList.remove("chosen");
	next?.classList.add("chosen");
	next?.scrollIntoView({ block: "nearest" });
};

// Where nobody signs in, people need not write their name twice.
const named = (root) => { for (const input of $$("input[name=by]", root)) input.defaultValue = localStorage.getItem("by") ?? ""; };

// The form for the chosen row, or for the finding or the incident that the page is about.
const order = (name) => {
	const alert = $(".chosen[data-alert]") ?? $("#alert[data-alert]");
	const incident = !alert && name === "acknowledge" ? $("#incident[data-incident]") : null;
	const template = $(`#order-${name}`);
	if (!(alert ?? incident) || !template) return;
	const node = dialog(`${name}-dialog`, template.dataset.title);
	node.append(make("h2", {}, template.dataset.title), make("p", {}, ((alert && $(".title", alert)) ?? $("#main .sentence"))?.textContent.trim()), template.content.cloneNode(true));
	const form = $("form", node);
	form.action = alert ? `/findings/${encodeURIComponent(alert.dataset.alert)}/${name}` : `/incidents/${incident.dataset.incident}/${name}`;
	form.elements.back.value = location.pathname + location.search;
	named(node);
	node.showModal();
};

const step = (area, by) => {
	const data = charts.find((chart) => chart.area === area)?.data;
	if (!data) return;
	const at = cursor ?? data.e;
	pointAll(Math.min(data.e, Math.max(data.f, at + (by * (data.e - data.f)) / 120)), area);
};

const ACTIONS = {
	j: () => move(1),
	k: () => move(-1),
	Enter: () => $(".chosen a[href]")?.click(),
	a: () => order("acknowledge"),
	m: () => order("mute"),
	"?": help,
	"/": () => ($("#main input[type=search]") ?? $(".search input")).focus(),
	",": () => $("[data-step='-1']")?.click(),
	".": () => $("[data-step='1']")?.click(),
	0: back,
};

let prefix = 0;
addEventListener("keydown", (event) => {
	if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") { event.preventDefault(); palette(); return; }
	if (event.key === "Escape") {
		$$("dialog").forEach((node) => node.close());
		$$(".chosen").forEach((row) => row.classList.remove("chosen"));
		$$("details[data-menu][open]").forEach((menu) => { menu.open = false; });
		document.activeElement?.blur();
		getSelection().removeAllRanges();
		pointAll(null);
		return;
	}
	if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, textarea, select, dialog")) return;
	if (event.target.matches(".plot > .area") && ["ArrowLeft", "ArrowRight"].includes(event.key)) {
		event.preventDefault();
		step(event.target, event.key === "ArrowLeft" ? -1 : 1);
		return;
	}
	if (Date.now() - prefix < 1500) {
		prefix = 0;
		const link = $(`#rail a[data-key="g ${CSS.escape(event.key)}"]`);
		if (link) { event.preventDefault(); location = link.href; return; }
	}
	if (event.key === "g") { prefix = Date.now(); return; }
	if (event.key === "Enter" && event.target.closest("a, button, summary")) return;
	if (Object.hasOwn(ACTIONS, event.key)) { event.preventDefault(); ACTIONS[event.key](); }
});

const settle = () => {
	ahead = Date.parse(document.body.dataset.now) - Date.now();
	reveal();
	named($("#main"));
	readCharts();
	tick();
};

if ($("#main") && $("#top")) {
	settle();
	setInterval(tick, 1000);
	document.addEventListener("visibilitychange", () => { if (!document.hidden) refresh(); });
	if (window.EventSource) listen();
} else {
	reveal();
}
