// The shapes of the lines of the decision log. schemas/decision-record.json and reuse-record.json are made from them.
import { z } from 'zod'
import { pdpErrorCodes } from '../errors.ts'

const anyJson = z.unknown()

/** Who asked, as records and policies have it. */
export const callerSchema = z.object({
  authenticated: z.boolean(),
  id: z.string().optional(),
  issuer: z.string().optional(),
  client_id: z.string().optional(),
  scopes: z.array(z.string()).optional(),
  address: z.string().optional(),
})

export const recordSchema = z
  .object({
    id: z.uuid().describe('ID of the record and of the answer'),
    seq: z.int().min(1).describe('Counts up by one in its shard'),
    shard: z.string(),
    time: z.iso.datetime().describe('The instant of the decision, UTC'),
    clock_step_ms: z
      .int()
      .optional()
      .describe(
        'By how much the clock was put since the record before, where that is a second or more: times from before and behind do not compare',
      ),
    door: z.string().describe('The protocol that asked'),
    correlation_id: z.string(),
    trace_id: z
      .string()
      .regex(/^[0-9a-f]{32}$/)
      .optional(),
    span_id: z
      .string()
      .regex(/^[0-9a-f]{16}$/)
      .optional(),
    caller: callerSchema,
    subject: anyJson.optional(),
    action: anyJson.optional(),
    resource: anyJson.optional(),
    input: anyJson.optional().describe('As the caller sent it; `{truncated, bytes, sha256}` when it was too large'),
    trusted: anyJson.optional().describe('What the service established itself and showed to the policy where it reads it'),
    nd: anyJson
      .optional()
      .describe('What functions answered whose answer varies (`http.send` and others), by function and hash of the arguments'),
    policy: z
      .object({ bundle: z.string(), entrypoint: z.string(), revision: z.string(), digest: z.string(), epoch: z.int().min(1) })
      .optional(),
    decision: z.boolean(),
    outcome: z.enum(['allow', 'deny', 'error']),
    error: z.object({ code: z.enum(pdpErrorCodes), message: z.string() }).optional(),
    reasons: anyJson.optional(),
    obligations: anyJson.optional(),
    cached: z.boolean(),
    steps: z.int().min(0),
    duration_us: z.int().min(0).describe('Microseconds from the question to the decision'),
    labels: z.record(z.string(), z.string()),
    dropped: z.literal(true).optional().describe('The bundle says that of such decisions only that there was one is recorded'),
    masked: z
      .array(z.string())
      .describe('JSON pointers whose values became null, a pseudonym (`hmac-sha256:…`) or encrypted (a compact JWE)'),
    replayable: z.union([z.literal(true), z.enum(['masked', 'truncated'])]),
  })
  .describe('One line of the decision log')

/** Of lines that are no decision. */
const numbered = {
  seq: z.int().min(1).describe('Counts up by one in its shard, with those of decisions'),
  shard: z.string(),
}

export const reuseRecordSchema = z
  .object({
    kind: z.literal('reuse'),
    of: z.uuid().describe('ID of the decision whose answer was given again'),
    ...numbered,
    time: z.iso.datetime().describe('When it was told, UTC'),
    caller: z
      .object({ id: z.string().optional(), issuer: z.string().optional(), address: z.string().optional() })
      .describe('Who keeps answers'),
    count: z.int().min(1).describe('How often, since it was told before'),
    first: z.iso.datetime().describe('By the clock of who keeps it'),
    last: z.iso.datetime(),
  })
  .describe('One line of the decision log: uses of an answer that is kept elsewhere')

export const retiredRecordSchema = z
  .object({
    kind: z.literal('retired'),
    ...numbered,
    time: z.iso.datetime().describe('When it was found, UTC'),
    before: z.string().describe('The first segment that is kept'),
    entries: z.int().min(1).describe('Entries before it, from the first of the log on: of them the hashes are kept'),
    files: z.int().min(1).describe('Segments that are removed now'),
    bytes: z.int().min(0),
  })
  .describe('One line of the decision log: records are kept no longer, as it is configured')

export const recoveredRecordSchema = z
  .object({
    kind: z.literal('recovered'),
    ...numbered,
    time: z.iso.datetime().describe('When it was found, UTC'),
    file: z.string().describe('The segment whose last line was not whole'),
    cut_bytes: z.int().min(1),
  })
  .describe('One line of the decision log: a crash left a line that was not whole, and it was cut')
