// Tables sort by a click or a key on the head of a column; animations stop and go on.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells], body = table.tBodies[0];
  if (body.rows.length < 2) continue;
  const key = (row, column) => {
    const cell = row.cells[column], number = cell.dataset.sort;
    const text = cell.textContent.trim();
    return number !== undefined ? Number(number) : text !== "" && !isNaN(text) ? Number(text) : text;
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach(other => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const keyed = [...body.rows].map(row => [key(row, column), row]);
      keyed.sort(([a], [b]) => {
        if ((a === "") !== (b === "")) return a === "" ? 1 : -1;  // what is not known is last
        return direction * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b), "en", {numeric: true}));
      });
      body.append(...keyed.map(([, row]) => row));
    });
  });
}
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
for (const picture of document.querySelectorAll("picture")) {
  if (still) break;
  const image = picture.querySelector("img"), source = picture.querySelector("source"), moving = image.src;
  const button = document.createElement("button");
  button.type = "button";
  button.className = "motion";
  const show = plays => {
    image.src = plays ? moving : source.srcset;
    button.textContent = plays ? "Pause" : "Play";
    button.setAttribute("aria-label", `${button.textContent}: ${image.alt}`);
  };
  button.addEventListener("click", () => show(image.src !== moving));
  show(true);
  (picture.closest(".region") || picture).after(button);
}
const current = location.hash && document.querySelector(location.hash);
for (let folded = current && current.closest("details"); folded; folded = folded.parentElement.closest("details")) folded.open = true;
