// A running service as commands of this folder ask it: where it is, the token, errors as the service says them.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Command } from 'commander'
import { clientDefaults } from '../config.ts'
import { PdpError, type PdpErrorCode, pdpErrorCodes } from '../errors.ts'

export interface ServerOptions {
  server?: string
  token?: string
  state?: string
  json?: boolean
}

export function withServerOptions(command: Command): Command {
  return command
    .option('--server <url>', 'the service (default $VERDICT_SERVER, else http://127.0.0.1:8181)')
    .option('--token <token>', 'bearer token (default $VERDICT_TOKEN, else the one in the state folder)')
    .option('--state <folder>', 'state folder of a service on this machine (default .verdict)')
    .option('--json', 'print JSON')
}

/** Answers that carry a result: 422 is a report, too. */
const withResult = new Set([200, 202, 422])

/**
 * @param body JSON, or bytes of an archive
 * @throws PdpError as the service says; ERR_FILE when it cannot be reached
 */
export async function callServer(
  options: ServerOptions,
  method: string,
  path: string,
  body?: object | Uint8Array | ReadableStream,
): Promise<Response> {
  const { server, token } = clientDefaults()
  const base = (options.server ?? server ?? 'http://127.0.0.1:8181').replace(/\/$/, '')
  const isArchive = body instanceof Uint8Array || body instanceof ReadableStream
  const headers: Record<string, string> = { authorization: `Bearer ${options.token ?? token ?? storedToken(options.state ?? '.verdict')}` }
  if (body !== undefined) headers['content-type'] = isArchive ? 'application/gzip' : 'application/json'
  const response = await fetch(`${base}${path}`, {
    method,
    headers,
    redirect: 'error',
    ...(body !== undefined && { body: isArchive ? body : JSON.stringify(body) }),
    ...(body instanceof ReadableStream && { duplex: 'half' }),
  } as RequestInit).catch((cause: Error) => {
    const reason = (cause.cause as Error | undefined)?.message ?? cause.message
    throw new PdpError('ERR_FILE', `the service \`${base}\` cannot be reached: ${reason}. Is it running? See --server`, { cause })
  })
  if (withResult.has(response.status) && !(await isFailure(response))) return response
  throw await failureOf(response)
}

export async function askServer<T>(options: ServerOptions, method: string, path: string, body?: object | ReadableStream): Promise<T> {
  return (await (await callServer(options, method, path, body)).json()) as T
}

/** A report is no failure, though its status says that nothing was activated. */
async function isFailure(response: Response): Promise<boolean> {
  if (response.status !== 422) return false
  const copy = (await response.clone().json()) as { error?: unknown }
  return copy.error !== undefined
}

async function failureOf(response: Response): Promise<PdpError> {
  const text = await response.text()
  try {
    const { error } = JSON.parse(text) as { error: { code: string; message: string } }
    const code = (pdpErrorCodes as readonly string[]).includes(error.code) ? (error.code as PdpErrorCode) : 'ERR_INTERNAL'
    return new PdpError(code, error.message)
  } catch {
    return new PdpError('ERR_INTERNAL', `the service answered with the status ${response.status}`)
  }
}

function storedToken(state: string): string {
  const file = join(state, 'admin.token')
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    throw new PdpError(
      'ERR_USAGE',
      `there is no token: give --token, set VERDICT_TOKEN, or name the state folder with --state (\`${file}\`)`,
      {
        cause,
      },
    )
  }
}
