// The messages of schemas/verdict/v1/decision.proto: requests read into questions, decisions written. Fields that the protocol
// does not have are refused: one that a newer client relies on must not be passed over.
import protobuf from 'protobufjs/minimal.js'
import type { PolicyIdentity, RecordedDecision } from '../../decision/decision.ts'
import { quoted } from '../../decision/json-text.ts'
import type { JsonText } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'
import { contextMembers } from '../decide-answer.ts'
import { type DecideBody, type DecideLimits, type PartTexts, type Question, splitPolicy, toQuestion } from '../decide-request.ts'
import { maxTokenLength, policyPattern, semantics } from '../decide-schema.ts'
import {
  embedded,
  readBool,
  readInteger,
  readJsonObject,
  readMessage,
  readStructField,
  readText,
  Seen,
  unknownField,
  type WireBounds,
  type WireReader,
} from './wire.ts'

/** A subject, an action or a resource. */
interface Entity {
  readonly value: Readonly<Record<string, string>>
  readonly text: JsonText
}

interface Parts {
  subject?: Entity
  action?: Entity
  resource?: Entity
  context?: JsonText
}

/** @throws PdpError as readMessage and toQuestion */
export function readDecideRequest(bytes: Uint8Array, limits: DecideLimits): DecideBody {
  const body = readBody(bytes, limits, false)
  const fault = body.questions[0]?.fault
  if (fault !== undefined) throw fault
  return body
}

/**
 * A batch; without evaluations the batch itself is one question.
 * @throws PdpError as readMessage; ERR_BATCH_TOO_LARGE
 */
export function readDecideBatchRequest(bytes: Uint8Array, limits: DecideLimits): DecideBody {
  return readBody(bytes, limits, true)
}

function readBody(bytes: Uint8Array, limits: DecideLimits, mayBeBatch: boolean): DecideBody {
  const bounds: WireBounds = { limits, members: 0 }
  return readMessage(bytes, (reader, end) => {
    const seen = new Seen()
    const outer: Parts = {}
    const evaluations: Parts[] = []
    let policy = ''
    let token = ''
    let minEpoch = 0
    let explain = false
    let semantic = 0
    while (reader.pos < end) {
      const tag = reader.uint32()
      const field = tag >>> 3
      if (field <= 5) readPart(reader, tag, end, bounds, seen, outer)
      else if (field === 11 && mayBeBatch) {
        if (evaluations.length >= limits.maxBatchSize) {
          throw new PdpError('ERR_BATCH_TOO_LARGE', `batch size exceeds maxBatchSize \`${limits.maxBatchSize}\``)
        }
        evaluations.push(readEvaluation(reader, embedded(reader, tag, end), bounds))
      } else {
        seen.add(field)
        if (field === 6) policy = readText(reader, tag, end)
        else if (field === 7) token = readText(reader, tag, end)
        else if (field === 8) minEpoch = readInteger(reader, tag)
        else if (field === 9) explain = readBool(reader, tag)
        else if (field === 10 && mayBeBatch) semantic = readInteger(reader, tag)
        else throw unknownField(tag)
      }
    }
    if (policy !== '' && !policyPattern.test(policy)) throw invalid('policy: must be `bundle` or `bundle:entry/point`')
    if (token.length > maxTokenLength) throw invalid(`token: must be at most \`${maxTokenLength}\` characters`)
    if (minEpoch < 0) throw invalid('min_epoch: must not be negative')
    if (semantic < 0 || semantic > semantics.length) throw invalid('evaluations_semantic: there is no such semantic')
    const [bundle, entrypoint] = policy === '' ? [] : splitPolicy(policy)
    return {
      questions: evaluations.length === 0 ? [questionOf(outer, outer, limits)] : evaluations.map((item) => questionOf(item, outer, limits)),
      isBatch: evaluations.length > 0,
      semantic: semantics[Math.max(0, semantic - 1)] ?? 'execute_all',
      bundle,
      entrypoint,
      token: token === '' ? undefined : { text: token },
      minEpoch: minEpoch === 0 ? undefined : minEpoch,
      explain,
    }
  })
}

function questionOf(item: Parts, outer: Parts, limits: DecideLimits): Question {
  const subject = item.subject ?? outer.subject
  const action = item.action ?? outer.action
  const resource = item.resource ?? outer.resource
  const texts: PartTexts = {
    subject: subject?.text,
    action: action?.text,
    resource: resource?.text,
    context: item.context ?? outer.context,
  }
  return toQuestion({ subject: subject?.value, action: action?.value, resource: resource?.value }, texts, limits)
}

function readEvaluation(reader: WireReader, end: number, bounds: WireBounds): Parts {
  const seen = new Seen()
  const question: Parts = {}
  while (reader.pos < end) readPart(reader, reader.uint32(), end, bounds, seen, question)
  return question
}

function readPart(reader: WireReader, tag: number, end: number, bounds: WireBounds, seen: Seen, into: Parts): void {
  const field = tag >>> 3
  // Both forms of the context are one field.
  seen.add(field === 5 ? 4 : field)
  if (field === 1) into.subject = readEntity(reader, embedded(reader, tag, end), bounds)
  else if (field === 2) into.action = readAction(reader, embedded(reader, tag, end), bounds)
  else if (field === 3) into.resource = readEntity(reader, embedded(reader, tag, end), bounds)
  else if (field === 4) into.context = readStructField(reader, tag, end, bounds)
  else if (field === 5) into.context = readJsonObject(reader, tag, end, bounds)
  else throw unknownField(tag)
}

/** A subject or a resource. */
function readEntity(reader: WireReader, end: number, bounds: WireBounds): Entity {
  const seen = new Seen()
  let type = ''
  let id = ''
  let properties: JsonText | undefined
  while (reader.pos < end) {
    const tag = reader.uint32()
    const field = tag >>> 3
    seen.add(field === 4 ? 3 : field)
    if (field === 1) type = readText(reader, tag, end)
    else if (field === 2) id = readText(reader, tag, end)
    else if (field === 3) properties = readStructField(reader, tag, end, bounds)
    else if (field === 4) properties = readJsonObject(reader, tag, end, bounds)
    else throw unknownField(tag)
  }
  return { value: { type, id }, text: `{"type":${quoted(type)},"id":${quoted(id)}${propertiesMember(properties)}}` }
}

function readAction(reader: WireReader, end: number, bounds: WireBounds): Entity {
  const seen = new Seen()
  let name = ''
  let properties: JsonText | undefined
  while (reader.pos < end) {
    const tag = reader.uint32()
    const field = tag >>> 3
    seen.add(field === 3 ? 2 : field)
    if (field === 1) name = readText(reader, tag, end)
    else if (field === 2) properties = readStructField(reader, tag, end, bounds)
    else if (field === 3) properties = readJsonObject(reader, tag, end, bounds)
    else throw unknownField(tag)
  }
  return { value: { name }, text: `{"name":${quoted(name)}${propertiesMember(properties)}}` }
}

function propertiesMember(properties: JsonText | undefined): string {
  return properties === undefined ? '' : `,"properties":${properties}`
}

function invalid(message: string): PdpError {
  return new PdpError('ERR_INVALID_REQUEST', message)
}

const lengthDelimited = 2
const tagOf = (field: number, type: number) => (field << 3) | type

/** A DecideResponse. Those of several decisions, one behind the other, are a DecideBatchResponse. */
export function writeDecideResponse(decision: RecordedDecision): Uint8Array {
  const writer = protobuf.Writer.create()
  writer.uint32(tagOf(1, lengthDelimited)).fork()
  writeDecision(writer, decision)
  return writer.ldelim().finish()
}

function writeDecision(writer: protobuf.Writer, decision: RecordedDecision): void {
  const { error } = decision
  if (decision.outcome === 'allow') writer.uint32(tagOf(1, 0)).bool(true)
  writer.uint32(tagOf(2, lengthDelimited)).string(decision.id)
  const context = contextMembers(error === undefined ? decision : { ...decision, error: undefined })
  if (context !== '') writer.uint32(tagOf(3, lengthDelimited)).string(`{${context}}`)
  if (error !== undefined) {
    writer.uint32(tagOf(4, lengthDelimited)).fork()
    writer.uint32(tagOf(1, lengthDelimited)).string(error.code)
    writer.uint32(tagOf(2, lengthDelimited)).string(error.message).ldelim()
  }
  if (decision.policy !== undefined) writer.uint32(tagOf(5, lengthDelimited)).bytes(policyBytes(decision.policy))
  if (decision.maxAgeMs !== 0) writer.uint32(tagOf(6, 0)).int64(decision.maxAgeMs)
  for (const line of decision.explanation?.split('\n').filter(Boolean) ?? []) writer.uint32(tagOf(7, lengthDelimited)).string(line)
}

const known = new WeakMap<PolicyIdentity, Uint8Array>()

/** A policy comes again with every answer. */
function policyBytes(policy: PolicyIdentity): Uint8Array {
  let bytes = known.get(policy)
  if (bytes === undefined) {
    const writer = protobuf.Writer.create()
    for (const [i, text] of [policy.bundle, policy.entrypoint, policy.revision, policy.digest].entries()) {
      if (text !== '') writer.uint32(tagOf(i + 1, lengthDelimited)).string(text)
    }
    bytes = writer.uint32(tagOf(5, 0)).int64(policy.epoch).finish()
    known.set(policy, bytes)
  }
  return bytes
}
