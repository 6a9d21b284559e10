// OPA's compilation of policies into data filters, in texts: what a request asks, and what its answer holds.
// @see https://www.openpolicyagent.org/docs/rest-api#compiling-a-rego-policy-and-query-into-data-filters
import { z } from 'zod'
import type { RecordedDecision } from '../../decision/decision.ts'
import { elementsOf, membersOf } from '../../decision/json-text.ts'
import type { FilterDemand, JsonText } from '../../decision/request.ts'
import { type JsonLimits, parseStrictJson } from '../../decision/strict-json.ts'
import { PdpError } from '../../errors.ts'
import { invalid } from '../decide-request.ts'
import { failureOf, isUnknown, opaError } from './opa-data.ts'

const dialects = {
  ucast: ['all', 'minimal', 'prisma', 'linq'],
  sql: ['postgresql', 'mysql', 'sqlserver', 'sqlite'],
} as const

const multiTarget = 'application/vnd.opa.multitarget+json'
const pairs = Object.entries(dialects).flatMap(([target, names]) => names.map((dialect) => [target, dialect] as const))
const single = new Map(pairs.map(([target, dialect]) => [`application/vnd.opa.${target}.${dialect}+json`, [target, dialect] as const]))
const named = new Map(pairs.map(([target, dialect]) => [`${target}+${dialect}`, [target, dialect] as const]))

const reference = z.string().min(1).max(1_024)
const bodySchema = z.looseObject({
  unknowns: z.array(reference).max(100).optional(),
  options: z
    .looseObject({
      disableInlining: z.array(reference).max(100).optional(),
      targetSQLTableMappings: z.record(z.string(), z.unknown()).optional(),
      targetDialects: z.array(z.string()).max(8).optional(),
      maskRule: reference.optional(),
    })
    .optional(),
})

export interface CompileQuestion {
  readonly input: JsonText | undefined
  readonly demand: FilterDemand
}

/** @throws PdpError ERR_INVALID_REQUEST, and as parseStrictJson */
export function parseCompileRequest(text: string | undefined, accept: string | undefined, limits: JsonLimits): CompileQuestion {
  const { value, members } = parseStrictJson(text === undefined || text.trim() === '' ? '{}' : text, limits)
  const parsed = bodySchema.safeParse(value)
  if (!parsed.success) throw invalid(parsed.error)
  const { unknowns, options } = parsed.data
  const one = single.get(accept ?? '')
  if (one === undefined && accept !== multiTarget) {
    throw new PdpError(
      'ERR_INVALID_REQUEST',
      `the Accept field must be one of ${[multiTarget, ...single.keys()].map((type) => `\`${type}\``).join(', ')}`,
    )
  }
  const targets = one !== undefined ? [one] : (options?.targetDialects ?? []).map(targetOf)
  if (targets.length === 0) throw new PdpError('ERR_INVALID_REQUEST', 'options.targetDialects: must name at least one')
  return {
    input: members.get('input'),
    demand: {
      targets,
      unknowns: unknowns ?? [],
      maskRule: options?.maskRule ?? '',
      disableInlining: options?.disableInlining ?? [],
      mappings:
        options?.targetSQLTableMappings === undefined
          ? undefined
          : membersOf(members.get('options') as string).get('targetSQLTableMappings'),
    },
  }
}

function targetOf(name: string): readonly [string, string] {
  const target = named.get(name)
  if (target === undefined)
    throw new PdpError('ERR_INVALID_REQUEST', `options.targetDialects: \`${name.slice(0, 64)}\` is none of ${[...named.keys()].join(', ')}`)
  return target
}

/** The answer where there is no filter; undefined: there is one. */
export function refusedFilter(decision: RecordedDecision): { readonly status: number; readonly body: string } | undefined {
  const { error } = decision
  if (error === undefined) return undefined
  if (isUnknown(decision)) return { status: 404, body: opaError('resource_not_found', error.message, error.code) }
  if (error.code !== 'ERR_REGO') return failureOf(decision)
  // What the policy says cannot be said in the language of the target, or something that it names does not exist.
  const errors = error.findings.map(({ code, message, location }) => ({ code, message, ...(location !== undefined && { location }) }))
  return { status: 400, body: JSON.stringify({ code: 'evaluation_error', message: error.message, errors }) }
}

/** `{"result": …}`; without a result where no data may be seen. */
export function toCompileAnswer({ result }: RecordedDecision, accept: string): JsonText {
  const filters = elementsOf(result as JsonText).map((element) => membersOf(element))
  const textOf = (filter: ReadonlyMap<string, JsonText>) => {
    if (filter.get('defined') !== 'true') return undefined
    const masks = filter.get('masks')
    return `{"query":${filter.get('query') ?? '""'}${masks === undefined ? '' : `,"masks":${masks}`}}`
  }
  if (accept !== multiTarget) {
    const [only] = filters.map(textOf)
    return only === undefined ? '{}' : `{"result":${only}}`
  }
  // UCAST has one form, whatever its dialect; of SQL each dialect has its own.
  const byName = new Map<string, JsonText>()
  for (const filter of filters) {
    const text = textOf(filter)
    const name = filter.get('target') === '"ucast"' ? '"ucast"' : (filter.get('dialect') as string)
    if (text !== undefined && !byName.has(name)) byName.set(name, text)
  }
  return `{"result":{${[...byName].map(([name, text]) => `${name}:${text}`).join(',')}}}`
}
