// JSON that was signed, read once and in one way: strictly, then by a schema.
import type { z } from 'zod'
import { checkStrictJson, type JsonLimits } from '../decision/strict-json.ts'
import type { PdpError } from '../errors.ts'

/** @param refused makes the error from what is wrong */
export function parseStrictly<T>(
  schema: z.ZodType<T>,
  text: string,
  limits: JsonLimits,
  refused: (what: string, cause?: unknown) => PdpError,
): T {
  let value: unknown
  try {
    checkStrictJson(text, limits)
    value = JSON.parse(text)
  } catch (cause) {
    throw refused(`it is malformed: ${(cause as Error).message}`, cause)
  }
  const parsed = schema.safeParse(value)
  if (parsed.success) return parsed.data
  const issue = parsed.error.issues[0]
  throw refused(`it is malformed: ${issue?.path.join('.')}: ${issue?.message}`)
}
