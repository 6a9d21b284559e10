// Before every decision that a subject's own token comes with: what is decided is decided for the one whose token it is, or an error
// that denies. Not how a token is verified: that is passed in.
import type { RecordedDecider } from '../decision/decider.ts'
import type { RecordedDecision } from '../decision/decision.ts'
import { textMemberOf } from '../decision/json-text.ts'
import type { DecisionRequest, SubjectToken, VerifiedSubject } from '../decision/request.ts'
import { PdpError, toPdpError } from '../errors.ts'

export interface SubjectTokenRules {
  /** Undefined: no token can be verified. @throws PdpError */
  readonly verify: ((token: string, nowMs: number) => Promise<VerifiedSubject>) | undefined
  /** Whether the subject of a question may be another than the one of the token. */
  readonly mayDiffer: boolean
}

export function withSubjectTokens(inner: RecordedDecider, { verify, mayDiffer }: SubjectTokenRules): RecordedDecider {
  // The questions of a batch share their token: it is verified, and a token that counts once is spent, once.
  const known = new WeakMap<SubjectToken, Promise<VerifiedSubject>>()
  return {
    decide(request: DecisionRequest): RecordedDecision | Promise<RecordedDecision> {
      const { token } = request
      // What is wrong with the question itself is told first: it needs no key and no other service.
      if (token === undefined || request.fault !== undefined) return inner.decide(request)
      return verified(token, request.timeMs).then(
        (subject) => inner.decide(forSubject(request, subject)),
        (thrown: unknown) => inner.decide({ ...request, fault: toPdpError(thrown) }),
      )
    },
  }

  function verified(token: SubjectToken, nowMs: number): Promise<VerifiedSubject> {
    let found = known.get(token)
    if (found === undefined) {
      found = verify === undefined ? Promise.reject(unverifiable()) : verify(token.text, nowMs)
      known.set(token, found)
    }
    return found
  }

  function forSubject(request: DecisionRequest, subject: VerifiedSubject): DecisionRequest {
    const known = { ...request, verified: subject }
    if (request.identified !== undefined) return { ...known, ...request.identified(subject.id) }
    if (mayDiffer || textMemberOf(request.subject, 'id') === subject.id) return known
    return { ...known, fault: new PdpError('ERR_SUBJECT_MISMATCH', 'the token is of another subject than the question') }
  }
}

function unverifiable(): PdpError {
  return new PdpError(
    'ERR_TOKEN_INVALID',
    "the request brings a subject's token, and no issuer is configured to verify it with: see authentication.subjects",
  )
}
