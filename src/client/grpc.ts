// A wrapper for unary methods of @grpc/grpc-js: a call gets to its method when the service allows it, and ends in PERMISSION_DENIED otherwise.
import type { Question } from './answer.ts'
import type { Client } from './client.ts'
import { traceOf } from './trace.ts'

/** What of a call is used here; the library's has it. */
interface Call<Request> {
  readonly request: Request
  readonly metadata: { getMap(): Readonly<Record<string, unknown>> }
  getPath(): string
}
type Done<Response> = (error: { readonly code: number; readonly details: string } | null, value?: Response) => void

const permissionDenied = 7
const internal = 13

/** @param toQuestion what the call asks for; undefined: nothing that anybody decides about */
export function authorize<Request, Response, C extends Call<Request>>(
  client: Client,
  toQuestion: (call: C) => Question | undefined,
  method: (call: C, done: Done<Response>) => void,
): (call: C, done: Done<Response>) => void {
  return (call, done) => {
    const deny = () => done({ code: permissionDenied, details: 'forbidden' })
    decide(call)
      .catch(() => false)
      .then((allowed) => (allowed ? method(call, done) : deny()))
      // A mistake of the method is no answer of the service.
      .catch(() => done({ code: internal, details: 'internal error' }))
  }

  async function decide(call: C): Promise<boolean> {
    const question = toQuestion(call)
    if (question === undefined) return true
    return (await client.decide(question, traceOf(call.metadata.getMap()))).decision === true
  }
}
