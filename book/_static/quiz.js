// Checks the answers of quizzes (tools/quiz.py) on the page. The score is kept nowhere else.
document.addEventListener("DOMContentLoaded", () => {
  const quizzes = [...document.querySelectorAll("fieldset.quiz")];
  const firstTries = new Map(); // quiz -> whether the first answer that was checked is right

  for (const quiz of quizzes) {
    const button = quiz.querySelector("button");
    const feedback = quiz.querySelector(".quiz-feedback");
    const reasons = quiz.querySelectorAll(".quiz-reason");

    const check = () => {
      const chosen = quiz.querySelector("input:checked");
      if (!chosen) {
        feedback.textContent = "Choose an answer first.";
        return;
      }
      const right = chosen.hasAttribute("data-right");
      if (!firstTries.has(quiz)) firstTries.set(quiz, right);
      const verdict = document.createElement("strong");
      verdict.textContent = right ? "Right. " : "Wrong. ";
      const score = document.createElement("p");
      const count = [...firstTries.values()].filter(Boolean).length;
      score.textContent = `Score of this page: ${count} of ${quizzes.length} right at the first try.`;
      feedback.replaceChildren(verdict, reasons[chosen.value].cloneNode(true), score);
      feedback.dataset.verdict = right ? "right" : "wrong";
    };

    button.hidden = false;
    button.addEventListener("click", check);
    quiz.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.target.type !== "radio") return;
      event.preventDefault();
      check();
    });
  }
});
