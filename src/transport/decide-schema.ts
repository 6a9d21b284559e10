// The shapes of /v1/decide: what a request may hold and what an answer holds. JSON Schemas in schemas/ are made
// from here. Identifiers get their character check beside the schema, since the allowed set is configurable.
import { z } from 'zod'
import { pdpErrorCodes } from '../errors.ts'

/** `bundle` or `bundle:entry/point`. */
export const policyPattern = /^[A-Za-z0-9][A-Za-z0-9_-]{0,63}(?::[^\s:]{1,512})?$/
export const maxIdentifierLength = 1024
export const maxTokenLength = 16_384

const properties = z.record(z.string(), z.unknown()).describe('Attributes, any JSON')
const identifier = z.string().min(1).max(maxIdentifierLength)

export const subjectSchema = z
  .looseObject({
    type: identifier.describe('Kind of subject'),
    id: identifier.describe('Who, unique within its type'),
    properties: properties.optional(),
  })
  .describe('Who wants to act')
export const actionSchema = z
  .looseObject({ name: identifier.describe('What is to be done'), properties: properties.optional() })
  .describe('What the subject wants to do')
export const resourceSchema = z
  .looseObject({
    type: identifier.describe('Kind of resource'),
    id: identifier.describe('Which one, unique within its type'),
    properties: properties.optional(),
  })
  .describe('What the action is about')
export const contextSchema = z.record(z.string(), z.unknown()).describe('Circumstances of the request as the caller sees them')

const questionFields = {
  subject: subjectSchema.optional(),
  action: actionSchema.optional(),
  resource: resourceSchema.optional(),
  context: contextSchema.optional(),
}

/** One item of a batch, merged with the defaults of the envelope. */
export const questionSchema = z.object({
  subject: subjectSchema,
  action: actionSchema,
  resource: resourceSchema,
  context: contextSchema.optional(),
})

export const semantics = ['execute_all', 'deny_on_first_deny', 'permit_on_first_permit'] as const

export const decideRequestSchema = z
  .looseObject({
    ...questionFields,
    evaluations: z
      .array(z.looseObject(questionFields))
      .optional()
      .describe('Several questions; members that an item leaves out are taken whole from the outer object. Empty: one question'),
    options: z
      .looseObject({
        evaluations_semantic: z
          .enum(semantics)
          .optional()
          .describe('Default `execute_all`; the others end the list with the first deny or permit'),
      })
      .optional(),
    policy: z
      .string()
      .regex(policyPattern)
      .optional()
      .describe('`bundle` or `bundle:entry/point`. Default: the only bundle, its default entrypoint'),
    token: z.string().min(1).max(maxTokenLength).optional().describe("The subject's own access token, to be verified"),
    min_epoch: z.int().min(0).optional().describe('Answer only from this epoch of the bundle or a later one'),
    explain: z.boolean().optional().describe("Add a trace of OPA's evaluator to the answer; slow"),
  })
  .describe('POST /v1/decide. Unknown members are ignored.')

/** What the door checks first: items are checked one by one, so that one bad item spoils only its own answer. */
export const envelopeSchema = z.looseObject({ ...decideRequestSchema.shape, evaluations: z.array(z.unknown()).optional() })

const errorSchema = z.object({ code: z.enum(pdpErrorCodes), message: z.string() })

export const decisionSchema = z
  .object({
    decision: z.boolean().describe('True only when the policy said exactly true'),
    id: z.uuid().describe('ID of the decision record'),
    context: z
      .looseObject({
        reasons: z.unknown().optional().describe('As the policy gave them'),
        obligations: z.unknown().optional().describe('As the policy gave them'),
        error: errorSchema.optional().describe('Set when the decision is false because something failed'),
      })
      .describe('Also what the policy returned as its `context`'),
    policy: z
      .object({
        bundle: z.string(),
        entrypoint: z.string(),
        revision: z.string(),
        digest: z.string().regex(/^sha256:[0-9a-f]{64}$/),
        epoch: z.int().min(1),
      })
      .optional(),
    cache: z.object({ max_age_ms: z.int().min(0) }),
    explanation: z.array(z.string()).optional(),
  })
  .describe('The answer to one question')

export const decideAnswerSchema = z.union([decisionSchema, z.object({ evaluations: z.array(decisionSchema) })])

export const errorAnswerSchema = z
  .object({ error: z.object({ code: z.enum(pdpErrorCodes), message: z.string(), correlation_id: z.string() }) })
  .describe('The body of every answer that is not a decision')
