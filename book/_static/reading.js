// What answers a reader on the page: runs that open, quizzes that count, previews of what a link
// leads to. Without scripts everything is there all the same, closed or a click away.

// From a folder no script may read other pages, so the search shows titles without their summaries.
if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;

// A link to a part that is folded away opens it.
const openTarget = () => {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const folded = target && target.closest("details");
  if (folded && !folded.open) {
    folded.open = true;
    target.scrollIntoView();
  }
};

// A quiz: each question is a paragraph, then its choices; a choice opens and says "Right." or "No.".
const countQuiz = () => {
  const section = document.getElementById("quiz");
  if (!section) return;
  const questions = [];
  for (const box of section.querySelectorAll("details")) {
    const before = box.previousElementSibling;
    if (before && before.matches("details")) questions.at(-1).push(box);
    else questions.push([box]);
  }
  const score = section.appendChild(document.createElement("p"));
  score.className = "tl-score";
  score.setAttribute("role", "status");
  const tries = new Map(); // question -> whether the first choice was right
  const isRight = (box) => box.querySelector("strong").textContent === "Right.";
  const say = () => {
    const right = [...tries.values()].filter(Boolean).length;
    const left = questions.length - tries.size;
    score.textContent = tries.size === 0
      ? `${questions.length} questions. Your first choice of each is counted, on this page only.`
      : `${right} of ${tries.size} right at the first try` + (left ? `; ${left} to go.` : ".");
  };
  for (const choices of questions) {
    for (const box of choices) {
      box.classList.add("tl-choice");
      box.querySelector("summary").addEventListener("click", () => {
        box.classList.add(isRight(box) ? "tl-right" : "tl-wrong");
        if (!tries.has(choices)) tries.set(choices, isRight(box));
        say();
      });
    }
  }
  say();
};

// Previews: the meaning of a term, or the equation that a link names, beside the link.
const previews = () => {
  const box = document.body.appendChild(document.createElement("div"));
  box.id = "tl-preview";
  box.setAttribute("role", "tooltip");
  box.hidden = true;
  let link = null;
  let closing;
  const hide = () => {
    box.hidden = true;
    link?.removeAttribute("aria-describedby");
    link = null;
  };
  const show = (of, content) => {
    clearTimeout(closing);
    hide();
    link = of;
    box.replaceChildren(content);
    box.hidden = false;
    link.setAttribute("aria-describedby", box.id);
    const at = link.getBoundingClientRect();
    const wide = document.documentElement.clientWidth;
    box.style.left = `${scrollX + Math.max(8, Math.min(at.left, wide - box.offsetWidth - 8))}px`;
    const above = at.top > box.offsetHeight + 12;
    box.style.top = `${scrollY + (above ? at.top - box.offsetHeight - 6 : at.bottom + 6)}px`;
  };
  const hideSoon = () => (closing = setTimeout(hide, 200)); // time to move onto the box
  const attach = (of, content) => {
    for (const event of ["mouseenter", "focus"]) of.addEventListener(event, () => show(of, content()));
    for (const event of ["mouseleave", "blur"]) of.addEventListener(event, hideSoon);
  };
  box.addEventListener("mouseenter", () => clearTimeout(closing));
  box.addEventListener("mouseleave", hideSoon);
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  for (const of of document.querySelectorAll("a.term[title]")) {
    const meaning = of.title;
    of.removeAttribute("title"); // or the browser shows it a second time
    attach(of, () => document.createTextNode(meaning));
  }
  for (const of of document.querySelectorAll('.bd-article a.reference[href^="#equation-"]')) {
    const equation = document.getElementById(decodeURIComponent(of.hash.slice(1)));
    if (equation) {
      attach(of, () => {
        const copy = equation.cloneNode(true);
        [copy, ...copy.querySelectorAll("[id]")].forEach((part) => part.removeAttribute("id"));
        copy.querySelectorAll("a").forEach((inside) => inside.remove());
        return copy;
      });
    }
  }
};

// Paper has nothing to click on: print what is folded away.
const openForPrint = () => {
  let closed = [];
  addEventListener("beforeprint", () => {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((box) => (box.open = true));
  });
  addEventListener("afterprint", () => closed.forEach((box) => (box.open = false)));
};

document.addEventListener("DOMContentLoaded", () => {
  countQuiz();
  previews();
  openForPrint();
  openTarget();
});
addEventListener("hashchange", openTarget);
