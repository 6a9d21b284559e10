// Questions that arrive in one turn of the event loop are asked one after the other, then all answers are sent: each step finds
// its code in the processor's caches, and one write to a connection carries many answers.

/** Answers wait for each other no longer than this and one evaluation. */
const maxTurnMs = 2

/**
 * @param ask must neither throw nor reject
 * @returns takes a question
 */
export function answerInTurns<Question, Answer>(
  ask: (question: Question) => Answer | Promise<Answer>,
  send: (question: Question, answer: Answer) => void,
): (question: Question) => void {
  let waiting: Question[] = []

  return (question) => {
    if (waiting.push(question) === 1) setImmediate(answerWaiting)
  }

  function answerWaiting(): void {
    const asked = waiting
    waiting = []
    const until = performance.now() + maxTurnMs
    const answers: (Answer | Promise<Answer>)[] = []
    for (const question of asked) {
      answers.push(ask(question))
      if (performance.now() > until) break
    }
    if (answers.length < asked.length) {
      waiting = asked.slice(answers.length)
      setImmediate(answerWaiting)
    }
    for (const [i, answer] of answers.entries()) {
      const question = asked[i] as Question
      if (answer instanceof Promise) void answer.then((late) => send(question, late))
      else send(question, answer)
    }
  }
}
