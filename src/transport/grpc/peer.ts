// What a gRPC call brings beside its message: who calls, its correlation ID, its trace.
import { PdpError } from '../../errors.ts'
import { childSpan } from '../../telemetry/trace-context.ts'
import { type Admission, admit } from '../admission.ts'
import { correlationId } from '../correlation.ts'
import type { RequestFacts } from '../decide.ts'
import type { Call } from './call.ts'

export function correlationOf(call: Call): string {
  return correlationId(only(call, 'x-request-id'))
}

/**
 * @param scope undefined: anybody may ask
 * @throws PdpError ERR_UNAUTHENTICATED, ERR_FORBIDDEN, ERR_AMBIGUOUS_CREDENTIALS
 */
export function factsOf(call: Call, id: string, door: string, scope: Admission | undefined): RequestFacts | Promise<RequestFacts> {
  const credentials = call.values('authorization')
  if (credentials.length > 1) throw ambiguousCredentials()
  const caller = admit(scope, credentials[0], call.peer, () => ({
    proofs: call.values('dpop').flatMap((value) => value.split(',')),
    method: 'POST',
    host: call.host,
    path: call.path,
  }))
  const trace = childSpan(only(call, 'traceparent'), call.values('tracestate').join(',') || undefined)
  return whenKnown(caller, (caller) => ({ door, correlationId: id, trace, caller }))
}

/** At once where it can be. */
export function whenKnown<T, U>(known: T | Promise<T>, use: (known: T) => U | Promise<U>): U | Promise<U> {
  return known instanceof Promise ? known.then(use) : use(known)
}

/** A field that is there once; Node joins repeated ones with commas, which no harmless value has. */
function only(call: Call, name: string): string | undefined {
  const values = call.values(name)
  return values.length === 1 ? values[0] : undefined
}

export function ambiguousCredentials(): PdpError {
  return new PdpError('ERR_AMBIGUOUS_CREDENTIALS', 'the authorization metadata is there more than once')
}
