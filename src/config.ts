// The configuration: one schema for the file (YAML or JSON) and the VERDICT_* variables, and the only place that
// reads the environment. Faults are collected and reported together. docs/configuration.md is made from the schema, whose parts are
// in src/config/.
import { readFileSync } from 'node:fs'
import { parseDocument } from 'yaml'
import { z } from 'zod'
import { bundleName, bundleSchema, keySchema } from './config/bundle-schemas.ts'
import { authenticationSchema } from './config/caller-schemas.ts'
import { crossChecks } from './config/cross-checks.ts'
import {
  authzenSchema,
  cacheSchema,
  decisionLogSchema,
  evaluationSchema,
  gatewaysSchema,
  requestsSchema,
  serverSchema,
  telemetrySchema,
} from './config/service-schemas.ts'
import { type Finding, PdpError } from './errors.ts'

export { isLoopback } from './config/cross-checks.ts'

export const configSchema = z.strictObject({
  state: z.string().min(1).default('.verdict').describe('Folder of what the service keeps. One service a folder.'),
  watch: z.boolean().default(false).describe('Compile folders again when they change.'),
  bundles: z.array(bundleSchema).default([]).describe('Bundles to serve.'),
  keys: z
    .array(keySchema)
    .default([])
    .describe(
      'Keys that verify the signatures of bundles: `id`, `algorithm`, and `file`, a public key in PEM or the secret of an HS algorithm.',
    ),
  server: serverSchema.prefault({}),
  authentication: authenticationSchema,
  requests: requestsSchema.prefault({}),
  evaluation: evaluationSchema.prefault({}),
  cache: cacheSchema.prefault({}),
  gateways: gatewaysSchema.prefault({}),
  authzen: authzenSchema.prefault({}),
  decisionLog: decisionLogSchema.prefault({}),
  telemetry: telemetrySchema.prefault({}),
  log: z
    .strictObject({
      level: z.enum(['fatal', 'error', 'warn', 'info', 'debug', 'silent']).default('info').describe('Least severity of what is logged.'),
    })
    .prefault({}),
  labels: z
    .record(z.string().regex(/^[A-Za-z_][A-Za-z0-9_]{0,63}$/), z.string().max(256))
    .default({})
    .describe('Constant facts about this service: in every record, and in `opa.runtime()` under `config.labels`.'),
})

export type Config = z.infer<typeof configSchema>

/** What holds for a bundle. */
export type BundleRules = Config['bundles'][number]

/** Rules of a bundle that the configuration does not name. */
export function defaultRules(name: string): BundleRules {
  return bundleSchema.parse({ name })
}

/** What a bundle can be called. */
export function isBundleName(name: string): boolean {
  return bundleName.safeParse(name).success
}

/** What of a configuration may be given, for overrides from the command line. */
export type ConfigOverrides = Readonly<Record<string, unknown>>

/** One setting: for the documentation and for the variables. */
export interface Setting {
  readonly path: readonly string[]
  readonly variable: string
  readonly schema: z.ZodType
}

/** All settings that are not groups, in the order of the schema. */
export function listSettings(): Setting[] {
  const settings: Setting[] = []
  const walk = (schema: z.ZodType, path: string[]) => {
    const inner = schema instanceof z.ZodPrefault ? schema.unwrap() : schema
    if (inner instanceof z.ZodObject) for (const [key, value] of Object.entries(inner.shape)) walk(value as z.ZodType, [...path, key])
    else settings.push({ path, variable: `VERDICT_${path.map(toUpperSnake).join('_')}`, schema })
  }
  walk(configSchema, [])
  return settings
}

/**
 * Reads the configuration: defaults, then the file, then variables, then overrides.
 * @throws PdpError ERR_CONFIG_INVALID with every fault as a finding
 */
export function loadConfig(options: { file?: string | undefined; env?: NodeJS.ProcessEnv; overrides?: ConfigOverrides } = {}): Config {
  const faults: Finding[] = []
  const merged = options.file === undefined ? {} : readFile(options.file, faults)
  applyVariables(merged, options.env ?? process.env, faults)
  for (const [path, value] of Object.entries(options.overrides ?? {})) if (value !== undefined) assign(merged, path.split('.'), value)
  const parsed = configSchema.safeParse(merged)
  if (!parsed.success) {
    for (const issue of parsed.error.issues)
      faults.push({ code: 'config', message: `${issue.path.join('.') || 'configuration'}: ${issue.message}` })
  }
  const config = parsed.data
  if (config !== undefined) faults.push(...crossChecks(config))
  if (config === undefined || faults.length > 0) {
    throw new PdpError('ERR_CONFIG_INVALID', `the configuration has ${faults.length} fault${faults.length === 1 ? '' : 's'}`, {
      findings: faults,
    })
  }
  return config
}

/** What commands that ask a running service take from the environment. */
export function clientDefaults(env: NodeJS.ProcessEnv = process.env): {
  readonly server: string | undefined
  readonly token: string | undefined
} {
  return { server: env.VERDICT_SERVER, token: env.VERDICT_TOKEN }
}

function readFile(file: string, faults: Finding[]): Record<string, unknown> {
  try {
    const document = parseDocument(readFileSync(file, 'utf8'), { uniqueKeys: true })
    for (const error of document.errors) faults.push({ code: 'config', message: `${file}: ${error.message}` })
    const value = document.errors.length > 0 ? {} : (document.toJS() ?? {})
    if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>
    faults.push({ code: 'config', message: `${file}: the outermost value must be a mapping` })
  } catch (cause) {
    faults.push({ code: 'config', message: `${file}: ${(cause as Error).message}` })
  }
  return {}
}

function applyVariables(target: Record<string, unknown>, env: NodeJS.ProcessEnv, faults: Finding[]): void {
  const known = new Map(listSettings().map((setting) => [setting.variable, setting]))
  for (const [name, text] of Object.entries(env)) {
    if (!name.startsWith('VERDICT_') || text === undefined || name === 'VERDICT_TOKEN' || name === 'VERDICT_SERVER') continue
    const setting = known.get(name)
    if (setting === undefined) faults.push({ code: 'config', message: `${name}: no such setting` })
    else assign(target, setting.path, parseVariable(text, setting.schema))
  }
}

/** Lists and mappings are YAML, all else is as the schema of its place wants it. */
function parseVariable(text: string, schema: z.ZodType): unknown {
  if (schema.safeParse(text).success) return text
  const document = parseDocument(text)
  return document.errors.length > 0 ? text : document.toJS()
}

function assign(target: Record<string, unknown>, path: readonly string[], value: unknown): void {
  const [key, ...rest] = path as [string, ...string[]]
  if (rest.length === 0) target[key] = value
  else {
    const next = target[key]
    const inner = typeof next === 'object' && next !== null ? (next as Record<string, unknown>) : {}
    target[key] = inner
    assign(inner, rest, value)
  }
}

function toUpperSnake(name: string): string {
  return name.replace(/[A-Z]/g, (c) => `_${c}`).toUpperCase()
}
