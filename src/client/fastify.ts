// A hook for Fastify: a request goes on when the service allows it, and is answered with 403 otherwise.
import type { Answer, Question } from './answer.ts'
import type { Client } from './client.ts'
import { traceOf } from './trace.ts'

/** What of a request is used here; Fastify's has it. */
interface Request {
  readonly headers: Readonly<Record<string, unknown>>
}
interface Reply {
  code(status: number): { send(body: unknown): unknown }
}

/**
 * @param toQuestion what the request asks for; undefined: nothing that anybody decides about
 * @param answered told of each answer, for obligations
 * @example app.addHook('preHandler', authorize(client, (request) => ({ subject: …, action: { name: request.method }, resource: … })))
 */
export function authorize<R extends Request>(
  client: Client,
  toQuestion: (request: R) => Question | undefined,
  answered?: (request: R, answer: Answer) => void,
): (request: R, reply: Reply) => Promise<unknown> {
  return async (request, reply) => {
    const question = toQuestion(request)
    if (question === undefined) return undefined
    const answer = await client.decide(question, traceOf(request.headers))
    answered?.(request, answer)
    return answer.decision === true ? undefined : reply.code(403).send({ error: 'forbidden', decision_id: answer.id })
  }
}
