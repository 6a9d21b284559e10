// verdict eval: one evaluation on Verdict's engine, or a stream of them with a policy each.
import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { buildBundle } from '../bundles/build-bundle.ts'
import { readFolder } from '../bundles/folder.ts'
import { readBundle } from '../bundles/read-bundle.ts'
import { configSchema } from '../config.ts'
import { readResult } from '../decision/read-result.ts'
import { localLimits, parseStrictJson } from '../decision/strict-json.ts'
import { PdpError } from '../errors.ts'
import { PolicyInstance } from '../policy/policy-instance.ts'
import { compilePolicyModule } from '../policy/policy-module.ts'
import { createReactorHost } from '../rego/reactor-host.ts'
import type { Toolchain } from '../rego/toolchain.ts'
import { evalLines } from './eval-lines.ts'
import { exitCodes, print } from './output.ts'
import { withToolchain } from './with-toolchain.ts'

interface EvalCommandOptions {
  bundle?: string
  data?: string
  entrypoint?: string
  input?: string
  explain?: boolean
  strictBuiltinErrors?: boolean
  fail?: boolean
  jsonl?: boolean
}

export function evalCommand(program: Command): void {
  program
    .command('eval')
    .description('evaluate an entrypoint')
    .option('-b, --bundle <file>', 'a bundle (.tar.gz)')
    .option('-d, --data <dir>', 'a folder of Rego and data')
    .option('-e, --entrypoint <path>', 'package/rule (default: the only one)')
    .option('-i, --input <file>', 'JSON input; - reads stdin')
    .option('--explain', "print a trace of OPA's evaluator, on stderr")
    .option('--strict-builtin-errors', 'errors of built-in functions end the evaluation')
    .option('--fail', 'exit with 1 unless the result allows')
    .option('--jsonl', 'read lines {"modules":{…},"data":…,"input":…,"entrypoint":"a/b"} from stdin, write one line each')
    .option('--json', 'results are always JSON; accepted for uniformity')
    .addHelpText(
      'after',
      `
Examples:
  echo '{"subject":{"id":"alice"}}' | verdict eval -d policies -e authz/decision -i -
  verdict eval -b bundle.tar.gz -e authz/decision -i input.json --explain
  verdict eval --jsonl < cases.jsonl

The answer is {"result":…} or {"undefined":true}; with --jsonl also {"error":{"code":…,"message":…}}.`,
    )
    .action(async (options: EvalCommandOptions) => {
      if (options.jsonl) return evalLines(process.stdin, process.stdout)
      const answer = await withToolchain((toolchain) => evalOnce(toolchain, options))
      print(answer === undefined ? '{"undefined":true}' : `{"result":${answer}}`)
      if (options.fail && !readResult(answer).allowed) process.exitCode = exitCodes.no
    })
}

async function evalOnce(toolchain: Toolchain, options: EvalCommandOptions): Promise<string | undefined> {
  const bundle = await readBundle(await readArchiveOf(toolchain, options))
  const input = await readInput(options.input)
  const { evaluation } = configSchema.parse({})
  const instance = new PolicyInstance(
    await compilePolicyModule(bundle.wasm),
    bundle.data,
    await createReactorHost(toolchain, '{}'),
    evaluation,
  )
  const paths = [...instance.entrypoints.keys()]
  const path = options.entrypoint ?? bundle.manifest.metadata.default_entrypoint ?? (paths.length === 1 ? paths[0] : undefined)
  const id = path === undefined ? undefined : instance.entrypoints.get(path)
  if (path === undefined || id === undefined) {
    throw new PdpError('ERR_USAGE', `name one of the entrypoints with --entrypoint: ${paths.join(', ')}`)
  }
  if (options.explain) {
    const { trace } = await toolchain.eval({ files: bundle.modules, data: bundle.data, input, entrypoint: path, explain: 'full' })
    process.stderr.write(trace ?? '')
  }
  return instance.evaluate(id, input, Date.now(), options.strictBuiltinErrors).result
}

async function readArchiveOf(toolchain: Toolchain, options: EvalCommandOptions): Promise<Buffer> {
  if ((options.bundle === undefined) === (options.data === undefined)) throw new PdpError('ERR_USAGE', 'give either --bundle or --data')
  if (options.bundle !== undefined) return readTextOrBytes(options.bundle)
  const entrypoints = options.entrypoint === undefined ? [] : [options.entrypoint]
  return buildBundle(await readFolder(options.data as string, toolchain), toolchain, { entrypoints })
}

async function readInput(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) return undefined
  const text =
    file === '-'
      ? Buffer.concat(await Array.fromAsync(process.stdin as AsyncIterable<Buffer>)).toString('utf8')
      : (await readTextOrBytes(file)).toString('utf8')
  return parseStrictJson(text, localLimits).text.trim()
}

async function readTextOrBytes(file: string): Promise<Buffer> {
  return readFile(file).catch((cause: Error) => {
    throw new PdpError('ERR_FILE', `\`${file}\` cannot be read: ${cause.message}`, { cause })
  })
}
