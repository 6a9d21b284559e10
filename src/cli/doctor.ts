// verdict doctor: looks at what the service would need and says what would not work. Changes nothing.
import { accessSync, constants, existsSync, statfsSync, statSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, resolve } from 'node:path'
import type { Command } from 'commander'
import { buildBundle } from '../bundles/build-bundle.ts'
import { readFolder } from '../bundles/folder.ts'
import { readBundle } from '../bundles/read-bundle.ts'
import { type Config, loadConfig } from '../config.ts'
import { formatFinding, PdpError, toPdpError } from '../errors.ts'
import { createTokenFile } from '../identity/token-file.ts'
import type { Toolchain } from '../rego/toolchain.ts'
import { exitCodes, paint, print, printJson } from './output.ts'
import { withToolchain } from './with-toolchain.ts'

interface Examination {
  readonly name: string
  readonly ok: boolean
  readonly message: string
}

const minNodeMajor = 24
const minFreeBytes = 256 * 2 ** 20
/** A clock before this release's year cannot be right. */
const earliestPlausibleYear = 2026

export function doctorCommand(program: Command): void {
  program
    .command('doctor')
    .description('say what would not work')
    .option('--config <file>', 'configuration, YAML or JSON')
    .option('--bundle <path>', 'a bundle or folder to look at, beside the configured ones')
    .option('--state <folder>', 'state folder')
    .option('--json', 'print the examinations as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  verdict doctor --config verdict.yaml\n  verdict doctor --bundle policies\n\nExit code 1: something would not work.',
    )
    .action(async (options: { config?: string; bundle?: string; state?: string; json?: boolean }) => {
      const results = await withToolchain((toolchain) => examineAll(toolchain, options))
      if (options.json) printJson({ ok: results.every((r) => r.ok), examinations: results })
      else for (const { ok, name, message } of results) print(`${ok ? paint('green', 'ok  ') : paint('red', 'FAIL')} ${name}: ${message}`)
      if (results.some((r) => !r.ok)) process.exitCode = exitCodes.no
    })
}

async function examineAll(toolchain: Toolchain, options: { config?: string; bundle?: string; state?: string }): Promise<Examination[]> {
  const results: Examination[] = []
  const examine = async (name: string, look: () => string | Promise<string>) => {
    try {
      results.push({ name, ok: true, message: await look() })
    } catch (thrown) {
      const error = toPdpError(thrown)
      const findings = error.findings.map(formatFinding)
      const message = error.code === 'ERR_INTERNAL' ? (error.cause as Error).message : error.message
      results.push({ name, ok: false, message: [message, ...findings].join('\n       ') })
    }
  }
  await examine('node', () => {
    if (Number(process.versions.node.split('.')[0]) < minNodeMajor)
      throw new Error(`${process.version} is too old, ${minNodeMajor} or newer is needed`)
    return process.version
  })
  await examine(
    'toolchain',
    async () => `OPA ${(await toolchain.about()).opa}, SHA-256 ${(await toolchain.sha256()).slice(0, 16)}… as committed`,
  )
  await examine('clock', () => {
    const now = new Date()
    if (now.getUTCFullYear() < earliestPlausibleYear) throw new Error(`${now.toISOString()} lies in the past: set the clock`)
    return now.toISOString()
  })
  let config: Config | undefined
  await examine('configuration', () => {
    config = loadConfig({ file: options.config, overrides: { state: options.state } })
    return options.config ?? 'defaults and variables'
  })
  if (config === undefined) return results
  const { server, state, bundles, authentication } = config
  const sources = options.bundle === undefined ? bundles : [...bundles, { name: 'main', path: options.bundle }]
  for (const { name, path } of sources) {
    if (path !== undefined) await examine(`bundle ${name}`, () => examineBundle(toolchain, path))
  }
  await examine('state folder', () => examineState(state))
  await examine('port', async () => {
    await bind(server.host, server.port)
    return `${server.host}:${server.port} is free`
  })
  if (authentication.decideTokenFile !== undefined) {
    const file = authentication.decideTokenFile
    await examine('token file', () => {
      createTokenFile(file)
      if ((statSync(file).mode & 0o077) !== 0) throw new Error(`\`${file}\` can be read by others: chmod 600`)
      return file
    })
  }
  return results
}

async function examineBundle(toolchain: Toolchain, path: string): Promise<string> {
  if (!existsSync(path)) throw new PdpError('ERR_FILE', `\`${path}\` does not exist`)
  const archive = statSync(path).isDirectory() ? await buildBundle(await readFolder(path, toolchain), toolchain) : await readFile(path)
  const { manifest, digest } = await readBundle(archive)
  return `${path}, ${manifest.wasm.length} entrypoint${manifest.wasm.length === 1 ? '' : 's'}, ${digest.slice(0, 19)}…`
}

function examineState(path: string): string {
  let at = resolve(path)
  while (!existsSync(at)) at = dirname(at)
  accessSync(at, constants.W_OK)
  const { bavail, bsize } = statfsSync(at)
  const free = bavail * bsize
  if (free < minFreeBytes) throw new Error(`only ${Math.floor(free / 2 ** 20)} MiB are free for the decision log`)
  return `${path} can be written, ${Math.floor(free / 2 ** 30)} GiB free`
}

function bind(host: string, port: number): Promise<void> {
  return new Promise((done, failed) => {
    const server = createServer()
    server.once('error', (error) => failed(new PdpError('ERR_LISTEN', `cannot listen on ${host}:${port}: ${error.message}`)))
    server.listen(port, host, () => server.close(() => done()))
  })
}
