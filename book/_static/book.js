// Mends, on every page, what the theme and pandas leave unclear to a screen reader.
const mendPage = () => {
  const each = (selector, mend) => document.querySelectorAll(selector).forEach(mend);

  // A name that differs from the words on the button cannot be spoken to a voice control.
  each(".search-button-field", (button) => {
    button.setAttribute("aria-label", button.textContent.replace(/\s+/g, " ").trim());
  });
  each(".theme-switch-button i, .theme-switch-button svg", (icon) => {
    icon.removeAttribute("title");
    icon.removeAttribute("aria-labelledby");
    icon.querySelector("title")?.remove();
    icon.setAttribute("aria-hidden", "true");
  });

  // The book's title above the contents lies in no landmark.
  each(".sidebar-primary-item:has(.navbar-brand)", (box) => {
    box.setAttribute("role", "region");
    box.setAttribute("aria-label", "Title of the book");
  });

  // A list without list items, and a role that is no longer in use.
  each("[role=list].citation-list, [role=doc-biblioentry]", (box) => box.removeAttribute("role"));

  // An empty table header says nothing: pandas leaves one above its row names.
  each("th:empty", (header) => header.replaceWith(document.createElement("td")));
};
document.addEventListener("DOMContentLoaded", mendPage);
addEventListener("load", mendPage); // the theme redraws its icons in between
