// Archives of bundles in the state folder, each in a file of its own by digest. What they are for is in the rows of bundle-store.ts.
import { existsSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs'
import { open, rename, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { PdpError } from '../errors.ts'

export class Archives {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  /** @throws PdpError ERR_STATE_UNUSABLE when the file is gone */
  read(digest: string): Buffer {
    try {
      return readFileSync(this.#pathOf(digest))
    } catch (cause) {
      throw new PdpError('ERR_STATE_UNUSABLE', `the archive \`${digest}\` is missing from the state folder`, { cause })
    }
  }

  /** Keeps an archive; it is on disk when this resolves. Syncing takes milliseconds, which no request should wait for. */
  async keep(digest: string, archive: Buffer): Promise<void> {
    const path = this.#pathOf(digest)
    if (existsSync(path)) return
    const temporary = `${path}.${process.pid}`
    await writeFile(temporary, archive, { mode: 0o600, flush: true })
    await rename(temporary, path)
    const folder = await open(this.#folder, 'r')
    await folder.sync()
    await folder.close()
  }

  remove(digest: string): void {
    rmSync(this.#pathOf(digest), { force: true })
  }

  /** Removes all others: those of pushes that were cut off. To be called before any is taken in. */
  keepOnly(digests: Iterable<string>): void {
    const kept = new Set(Array.from(digests, (digest) => this.#pathOf(digest)))
    for (const file of readdirSync(this.#folder)) {
      const path = join(this.#folder, file)
      if (!kept.has(path) && statSync(path).isFile()) rmSync(path)
    }
  }

  #pathOf(digest: string): string {
    return join(this.#folder, `${digest.replace('sha256:', '')}.tar.gz`)
  }
}
