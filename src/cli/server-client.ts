// A running service as commands of this folder ask it: where it is, the token, errors as the service says them.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest, type RequestOptions } from 'node:https'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import type { ReadableStream as WebStream } from 'node:stream/web'
import type { Command } from 'commander'
import { clientDefaults } from '../config.ts'
import { PdpError, type PdpErrorCode, pdpErrorCodes } from '../errors.ts'

export interface ServerOptions {
  server?: string
  token?: string
  state?: string
  ca?: string
  cert?: string
  key?: string
  json?: boolean
}

export function withServerOptions(command: Command): Command {
  return command
    .option('--server <url>', 'the service (default $VERDICT_SERVER, else http://127.0.0.1:8181)')
    .option('--token <token>', 'bearer token (default $VERDICT_TOKEN, else the one in the state folder)')
    .option('--state <folder>', 'state folder of a service on this machine (default .verdict)')
    .option('--ca <file>', 'authorities of an https service, PEM (default: those of the system)')
    .option('--cert <file>', 'certificate to show, PEM, in place of a token')
    .option('--key <file>', 'its private key, PEM')
    .option('--json', 'print JSON')
}

/** Where the service is, without a slash at the end. */
export function baseOf({ server }: { readonly server?: string | undefined }): string {
  return (server ?? clientDefaults().server ?? 'http://127.0.0.1:8181').replace(/\/$/, '')
}

/** Answers that carry a result: 422 is a report, too. */
const withResult = new Set([200, 201, 202, 422])

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
  const { token } = clientDefaults()
  const base = baseOf(options)
  const isArchive = body instanceof Uint8Array || body instanceof ReadableStream
  const bearer = options.token ?? token ?? (options.cert === undefined ? storedToken(options.state ?? '.verdict') : undefined)
  const headers: Record<string, string> = bearer === undefined ? {} : { authorization: `Bearer ${bearer}` }
  if (body !== undefined) headers['content-type'] = isArchive ? 'application/gzip' : 'application/json'
  const sent = body === undefined ? undefined : isArchive ? body : JSON.stringify(body)
  const response = await send(urlOf(`${base}${path}`), { method, headers, ...credentialsOf(options) }, sent).catch((cause: Error) => {
    const reason = cause.message || (cause as NodeJS.ErrnoException).code
    throw new PdpError('ERR_FILE', `the service \`${base}\` cannot be reached: ${reason}. Is it running? See --server`, { cause })
  })
  if (withResult.has(response.status) && !(await isFailure(response))) return response
  throw await failureOf(response)
}

/** Not with fetch, which takes no certificates. Redirects are not followed: what they lead to would get the credentials. */
async function send(url: URL, options: RequestOptions, body: string | Uint8Array | ReadableStream | undefined): Promise<Response> {
  const request = url.protocol === 'https:' ? httpsRequest(url, options) : httpRequest(url, options)
  const answered = once(request, 'response') as Promise<[IncomingMessage]>
  if (body instanceof ReadableStream) Readable.fromWeb(body as WebStream).pipe(request)
  else request.end(body)
  const [answer] = await answered
  return new Response(Readable.toWeb(answer) as ReadableStream, { status: answer.statusCode ?? 0 })
}

/** @throws PdpError ERR_USAGE */
function urlOf(text: string): URL {
  if (URL.canParse(text) && /^https?:/.test(text)) return new URL(text)
  throw new PdpError('ERR_USAGE', `\`${text}\` is no http or https URL: see --server`)
}

/** @throws PdpError ERR_USAGE for files that cannot be read */
function credentialsOf(options: ServerOptions): Pick<RequestOptions, 'ca' | 'cert' | 'key'> {
  return Object.fromEntries(
    (['ca', 'cert', 'key'] as const).flatMap((name) => {
      const file = options[name]
      if (file === undefined) return []
      try {
        return [[name, readFileSync(file)]]
      } catch (cause) {
        throw new PdpError('ERR_USAGE', `--${name}: \`${file}\` cannot be read: ${(cause as Error).message}`, { cause })
      }
    }),
  )
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
