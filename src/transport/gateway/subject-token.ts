// The token that a request to a service behind a gateway brings: its subject's own, in the request's own field.
// @see RFC 6750 §2.1, RFC 9449 §7.1
import type { SubjectToken } from '../../decision/request.ts'

/**
 * @param authorization value of the field
 * @returns undefined: it has no token, but perhaps other credentials
 */
export function subjectTokenOf(authorization: string | undefined): SubjectToken | undefined {
  const [, text] = /^(?:Bearer|DPoP) +([^\s,]+)$/i.exec(authorization ?? '') ?? []
  return text === undefined ? undefined : { text }
}
