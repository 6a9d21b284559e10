// The command line as a process of its own.
import { type ChildProcess, spawn } from 'node:child_process'
import { resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll } from '@jest/globals'

const main = resolve(import.meta.dirname, '../../src/main.ts')
// A process of Node.js reads hundreds of files and compiles them: half a second, of which the second one saves most.
const compiled = resolve(import.meta.dirname, '../../node_modules/.cache/node')
const running = new Set<ChildProcess>()

afterAll(() => {
  for (const child of running) child.kill('SIGKILL')
})

export interface Outcome {
  readonly code: number | null
  readonly stdout: string
  readonly stderr: string
}

export function startCli(
  args: readonly string[],
  env: Record<string, string> = {},
  under: readonly string[] = [],
): { child: ChildProcess; out: { stdout: string; stderr: string }; ended: Promise<Outcome> } {
  const [program, ...rest] = [...under, process.execPath, '--disable-warning=ExperimentalWarning', main, ...args] as [string, ...string[]]
  const child = spawn(program, rest, {
    env: { PATH: process.env.PATH ?? '', NODE_COMPILE_CACHE: compiled, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  })
  running.add(child)
  const out = { stdout: '', stderr: '' }
  child.stdout?.on('data', (data) => (out.stdout += data))
  child.stderr?.on('data', (data) => (out.stderr += data))
  const ended = new Promise<Outcome>((done) =>
    child.on('close', (code) => {
      running.delete(child)
      done({ code, ...out })
    }),
  )
  return { child, out, ended }
}

/** @param stdin what the process reads */
export function runCli(args: readonly string[], stdin = '', env: Record<string, string> = {}): Promise<Outcome> {
  const { child, ended } = startCli(args, env)
  child.stdin?.end(stdin)
  return ended
}

/**
 * Starts `serve` on a free port and waits until it is ready.
 * @param under a program with its arguments that starts it
 */
export async function serveCli(
  args: readonly string[],
  env: Record<string, string> = {},
  under: readonly string[] = [],
): Promise<ReturnType<typeof startCli> & { url: string }> {
  const started = startCli(['serve', '--port', '0', '--grpc-port', '0', ...args], env, under)
  for (let i = 0; i < 600; i++) {
    const url = /answers at (http:\S+)/.exec(started.out.stdout)?.[1]
    if (url !== undefined) return { ...started, url }
    if (started.child.exitCode !== null) throw new Error(`serve ended: ${started.out.stderr}`)
    await sleep(50)
  }
  throw new Error(`serve did not start: ${started.out.stderr}`)
}
