// A middleware for Express, and for whatever has its requests: one goes on when the service allows it, and is answered with 403 otherwise.
import type { Answer, Question } from './answer.ts'
import type { Client } from './client.ts'
import { traceOf } from './trace.ts'

/** What of a request is used here; Express's has it. */
interface Request {
  readonly headers: Readonly<Record<string, unknown>>
}
interface Response {
  status(code: number): { json(body: unknown): unknown }
}

/**
 * @param toQuestion what the request asks for; undefined: nothing that anybody decides about
 * @param answered told of each answer, for obligations
 */
export function authorize<R extends Request>(
  client: Client,
  toQuestion: (request: R) => Question | undefined,
  answered?: (request: R, answer: Answer) => void,
): (request: R, response: Response, next: (error?: unknown) => void) => void {
  return (request, response, next) => {
    decide(request).then((answer) => {
      if (answer === undefined || answer.decision === true) next()
      else response.status(403).json({ error: 'forbidden', decision_id: answer.id })
    }, next)
  }

  async function decide(request: R): Promise<Answer | undefined> {
    const question = toQuestion(request)
    if (question === undefined) return undefined
    const answer = await client.decide(question, traceOf(request.headers))
    answered?.(request, answer)
    return answer
  }
}
