// Enterprise OPA's batch API in texts: one path, many inputs, an answer for each.
// @see https://docs.styra.com/enterprise-opa/reference/api-reference/batch-api
import { randomUUID } from 'node:crypto'
import type { RecordedDecision } from '../../decision/decision.ts'
import { membersOf } from '../../decision/json-text.ts'
import type { JsonText } from '../../decision/request.ts'
import { parseStrictJson } from '../../decision/strict-json.ts'
import { PdpError } from '../../errors.ts'
import type { DecideLimits } from '../decide-request.ts'
import { Turn } from '../turn.ts'
import { type OpaAnswer, type OpaAnswerOptions, toV1Answer } from './opa-data.ts'

/**
 * The inputs by their IDs; members of `common_input` are taken where an input has none of that name.
 * @throws PdpError ERR_INVALID_REQUEST, ERR_BATCH_TOO_LARGE, and as parseStrictJson
 */
export function inputsOfBody(text: string | undefined, limits: DecideLimits): Map<string, JsonText> {
  const { members } = parseStrictJson(text ?? '', limits)
  const inputs = members.get('inputs')
  if (inputs?.startsWith('{') !== true) throw new PdpError('ERR_INVALID_REQUEST', 'the body must be a JSON object with the object `inputs`')
  const byId = membersOf(inputs)
  if (byId.size > limits.maxBatchSize) {
    throw new PdpError('ERR_BATCH_TOO_LARGE', `batch size \`${byId.size}\` exceeds maxBatchSize \`${limits.maxBatchSize}\``)
  }
  const common = members.get('common_input')
  if (common === undefined) return byId
  const shared = membersOf(common)
  return new Map([...byId].map(([id, input]) => [id, input.startsWith('{') ? withCommon(input, shared) : input]))
}

function withCommon(input: JsonText, shared: ReadonlyMap<string, JsonText>): JsonText {
  const all = new Map([...shared, ...membersOf(input)])
  return `{${[...all].map(([key, value]) => `${JSON.stringify(key)}:${value}`).join(',')}}`
}

/** Asks all; 200 where all have an answer, 207 where some have, 500 where none has. */
export async function answerBatch(
  inputs: ReadonlyMap<string, JsonText>,
  path: string,
  options: OpaAnswerOptions,
  ask: (input: JsonText) => RecordedDecision | Promise<RecordedDecision>,
): Promise<{ readonly status: 200 | 207 | 500 | 503; readonly body: JsonText }> {
  const answers = new Map<string, OpaAnswer>()
  const turn = new Turn()
  for (const [id, input] of inputs) {
    const answer = toV1Answer(await ask(input), path, options)
    if (answer.status === 503) return { status: 503, body: answer.body }
    answers.set(id, answer)
    if (turn.isLong) await turn.next()
  }
  const failed = [...answers.values()].filter(({ status }) => status !== 200).length
  const status = failed === 0 ? 200 : failed < answers.size ? 207 : 500
  const texts = [...answers].map(([id, answer]) => {
    const body = status === 207 ? `{"http_status_code":"${answer.status}",${answer.body.slice(1)}` : answer.body
    return `${JSON.stringify(id)}:${body}`
  })
  return { status, body: `{"batch_decision_id":"${randomUUID()}","responses":{${texts.join(',')}}}` }
}
