// Each heading of a table of the class "sortable" sorts its rows, and turns them round.
"use strict";
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const read = (row, column) => {
    const text = row.cells[column].textContent.trim();
    const plain = text.replace(/,/g, "").replace(/ × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)$/, (_, power) =>
      "e" + [...power].map((each) => each === "⁻" ? "-" : "⁰¹²³⁴⁵⁶⁷⁸⁹".indexOf(each)).join(""));
    if (!/^[<>]?[-+]?\d*\.?\d+(e-?\d+)?%?$/.test(plain)) return text;
    const number = parseFloat(plain.replace(/^[<>]/, ""));
    // Less than 0.1% is below 0.1%, and more than 99.9% above it.
    const told = { "<": number / 2, ">": (number + 100) / 2 }[plain[0]] ?? number;
    return text.endsWith("%") ? told / 100 : told;
  };
  const compare = (one, other) => {
    if (typeof one === "number" && typeof other === "number") return one - other;
    if (typeof one !== typeof other) return typeof one === "number" ? -1 : 1;
    return one.localeCompare(other, undefined, { numeric: true });
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const was = heading.getAttribute("aria-sort");
      const isNumeric = [...body.rows].some((row) => typeof read(row, column) === "number");
      // Numbers begin with the greatest, texts with the first.
      const first = isNumeric ? "descending" : "ascending";
      const other = isNumeric ? "ascending" : "descending";
      const order = was === first ? other : first;
      const sign = order === "ascending" ? 1 : -1;
      const rows = [...body.rows].map((row) => [read(row, column), row]);
      rows.sort((a, b) => sign * compare(a[0], b[0]));
      body.append(...rows.map(([, row]) => row));
      headings.forEach((each) => each.removeAttribute("aria-sort"));
      heading.setAttribute("aria-sort", order);
    });
  });
}
