// A decision as JSON text in the native shape. Texts that the policy wrote go out as they are, digits included.
import { constantText } from '../decision/constant-text.ts'
import type { RecordedDecision } from '../decision/decision.ts'
import { membersOf } from '../decision/json-text.ts'

export function toAnswer(decision: RecordedDecision): string {
  const allowed = decision.outcome === 'allow'
  let text = `{"decision":${allowed},"id":"${decision.id}","context":{${contextMembers(decision)}}`
  if (decision.policy !== undefined) text += `,"policy":${constantText(decision.policy)}`
  text += `,"cache":{"max_age_ms":${decision.maxAgeMs}}`
  if (decision.explanation !== undefined) text += `,"explanation":${JSON.stringify(decision.explanation.split('\n').filter(Boolean))}`
  return `${text}}`
}

/**
 * What an answer has under `context`, without its braces.
 * @param taken names that the policy's own context cannot have
 */
export function contextMembers(decision: RecordedDecision, taken: ReadonlySet<string> = ownKeys): string {
  const { reasons, obligations, context, error } = decision
  const members: string[] = []
  if (context?.startsWith('{') === true) {
    for (const [key, value] of membersOf(context)) if (!taken.has(key)) members.push(`${JSON.stringify(key)}:${value}`)
  }
  if (reasons !== undefined) members.push(`"reasons":${reasons}`)
  if (obligations !== undefined) members.push(`"obligations":${obligations}`)
  if (error !== undefined) members.push(`"error":{"code":"${error.code}","message":${JSON.stringify(error.message)}}`)
  return members.join(',')
}

/** What the service says itself under `context`; a policy's own context cannot take these places. */
export const ownKeys: ReadonlySet<string> = new Set(['reasons', 'obligations', 'error'])
