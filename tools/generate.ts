// Writes what is made from code: the JSON Schemas in schemas/ and docs/configuration.md.
//   npm run generate            writes
//   npm run generate -- --check exits with 1 when a file is not what it would be; writes nothing
import { readFileSync, writeFileSync } from 'node:fs'
import { z } from 'zod'
import { recordSchema, recoveredRecordSchema, retiredRecordSchema, reuseRecordSchema } from '../src/audit/record-schema.ts'
import { configSchema, listSettings } from '../src/config.ts'
import { prometheusName } from '../src/telemetry/exposition.ts'
import { type InstrumentName, instruments } from '../src/telemetry/metrics.ts'
import { decideAnswerSchema, decideRequestSchema, errorAnswerSchema } from '../src/transport/decide-schema.ts'
import { infoSchema } from '../src/transport/http/admin-routes.ts'
import { openapi } from '../src/transport/http/openapi.ts'
import { version } from '../src/version.ts'

/** The files, by path relative to the repository. */
export function generatedFiles(): Record<string, string> {
  const schemas = {
    'decide-request': [decideRequestSchema, 'input'],
    'decide-answer': [decideAnswerSchema, 'output'],
    error: [errorAnswerSchema, 'output'],
    'decision-record': [recordSchema, 'output'],
    'reuse-record': [reuseRecordSchema, 'output'],
    'retired-record': [retiredRecordSchema, 'output'],
    'recovered-record': [recoveredRecordSchema, 'output'],
    info: [infoSchema, 'output'],
    config: [configSchema, 'input'],
  } as const
  const files: Record<string, string> = {}
  for (const [name, [schema, io]] of Object.entries(schemas)) {
    files[`schemas/${name}.json`] =
      `${JSON.stringify({ title: name, ...z.toJSONSchema(schema, { io, target: 'draft-2020-12' }) }, undefined, 2)}\n`
  }
  files['schemas/openapi.json'] = `${JSON.stringify(openapi(version), undefined, 2)}\n`
  files['docs/configuration.md'] = configurationPage()
  files['docs/metrics.md'] = metricsPage()
  return files
}

function metricsPage(): string {
  const rows = (Object.keys(instruments) as InstrumentName[]).map((name) => {
    const { kind, unit, description, attributes } = instruments[name]
    return `| \`${name}\` | \`${prometheusName(name)}\` | ${kind} | ${unit} | ${attributes.map((one) => `\`${one}\``).join(', ')} | ${description} |`
  })
  return `# Metrics and traces
<!-- Made by \`npm run generate\` from src/telemetry/metrics.ts. -->

\`GET /metrics\` has them in the text of Prometheus and as OpenMetrics, which adds to buckets of \`verdict.decision.duration\` the trace of a decision that
fell into them (exemplars, where its caller samples), for callers with the role \`audit\` (\`authorization\` with \`credentials_file\` in its
configuration). With \`telemetry.otlpUrl\` they go to a collector by OTLP, too, and a span \`decide\` for each decision whose caller samples its trace
(\`traceparent\`), with the decision, its record's ID, the revision, and whether it was given again. What is not sampled costs nothing.
\`traceparent\` and \`tracestate\` go on with the requests that a policy makes (\`http.send\`), with the decision's span as parent; without a trace one begins there.

Attributes have few values: of each instrument at most 500 combinations are told apart, the others are counted under \`other\`.

| OpenTelemetry | Prometheus | kind | unit | attributes | what |
|---|---|---|---|---|---|
${rows.join('\n')}
`
}

function configurationPage(): string {
  const rows = listSettings().map(({ path, variable, schema }) => {
    const json = z.toJSONSchema(schema, { io: 'input' }) as { default?: unknown; description?: string }
    const fallback = json.default === undefined ? '' : `\`${JSON.stringify(json.default)}\``
    return `| \`${path.join('.')}\` | \`${variable}\` | ${fallback} | ${(json.description ?? '').replaceAll('|', '\\|')} |`
  })
  return `# Configuration
<!-- Made by \`npm run generate\` from src/config.ts. -->

\`verdict serve --config verdict.yaml\` reads a file, YAML or JSON; each setting can also be given as a variable, which
overrides the file, and the options of \`serve\` override both. Lists and mappings in variables are written as YAML, for example
\`VERDICT_BUNDLES='[{name: main, path: policies}]'\`. All faults are reported at once, and \`verdict doctor --config verdict.yaml\`
looks further: at files, folders, keys, ports and the clock.

| setting | variable | default | what it does |
|---|---|---|---|
${rows.join('\n')}

A bundle in \`bundles\` has a \`name\` (default \`main\`), a \`path\` and, where requests may name no entrypoint and the bundle has several,
a \`defaultEntrypoint\`.
`
}

if (process.argv[1] === import.meta.filename) {
  const root = new URL('../', import.meta.url)
  let stale = 0
  for (const [path, text] of Object.entries(generatedFiles())) {
    const file = new URL(path, root)
    if (!process.argv.includes('--check')) writeFileSync(file, text)
    else if (readFileSync(file, 'utf8') !== text) {
      stale++
      process.stderr.write(`${path} is not up to date: run \`npm run generate\` and commit\n`)
    }
  }
  process.exitCode = stale > 0 ? 1 : 0
}
