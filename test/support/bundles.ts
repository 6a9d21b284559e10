// Bundles for tests, and the admin scope of a service as an operator asks it.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { buildBundle } from '../../src/bundles/build-bundle.ts'
import { readFolder } from '../../src/bundles/folder.ts'
import { tempFolder } from './temp-folder.ts'
import { toolchain } from './toolchain.ts'

/** The archive of a folder with these files. */
export async function archiveOf(files: Readonly<Record<string, string>>): Promise<Buffer> {
  return buildBundle(await readFolder(tempFolder(files), toolchain), toolchain)
}

// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
type Json = any

export interface AdminAnswer {
  readonly status: number
  readonly json: Json
}

/** @param token absent: the local administrator's */
export async function admin(
  service: { readonly url: string; readonly state: string },
  method: string,
  path: string,
  body?: object | Buffer,
  token = readFileSync(join(service.state, 'admin.token'), 'utf8').trim(),
): Promise<AdminAnswer> {
  const isArchive = Buffer.isBuffer(body)
  const response = await fetch(`${service.url}${path}`, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...(body !== undefined && { 'content-type': isArchive ? 'application/gzip' : 'application/json' }),
    },
    ...(body !== undefined && { body: isArchive ? new Uint8Array(body) : JSON.stringify(body) }),
  })
  const text = await response.text()
  return { status: response.status, json: text === '' ? undefined : JSON.parse(text) }
}
