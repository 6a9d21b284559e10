// Lines that wait to be written, as bytes in chunks outside V8's heap: strings that live until a file has them would be
// copied by every collection of garbage meanwhile.
import { writeUtf8 } from '../decision/utf8.ts'

const chunkBytes = 256 * 1024
/** Written chunks that are kept to be filled again. */
const maxSpare = 8
const lineBreak = 0x0a
const space = 0x20

export class LineChunks {
  #full: Buffer<ArrayBuffer>[] = []
  #current = Buffer.allocUnsafeSlow(chunkBytes)
  #used = 0
  #bytes = 0
  readonly #spare: Buffer<ArrayBuffer>[] = []

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes
  }

  /**
   * Takes one line with its line break. Other line breaks in it become spaces, whatever they are part of: nothing
   * that was appended can look like two lines.
   */
  append(line: string): void {
    const most = line.length * 3
    if (most > this.#current.length - this.#used) this.#next(most)
    const chunk = this.#current
    const from = this.#used
    const length = writeUtf8(line, chunk, from)
    this.#used = from + length
    this.#bytes += length
    let at = chunk.indexOf(lineBreak, from)
    while (at < this.#used - 1 && at >= 0) {
      chunk[at] = space
      at = chunk.indexOf(lineBreak, at)
    }
  }

  /** @returns all that waits, in order; empty when nothing does */
  take(): Buffer<ArrayBuffer>[] {
    if (this.#used > 0) this.#next(chunkBytes)
    const chunks = this.#full
    this.#full = []
    this.#bytes = 0
    return chunks
  }

  /** Puts what was taken back in front. */
  putBack(chunks: readonly Buffer<ArrayBuffer>[]): void {
    this.#full = [...chunks, ...this.#full]
    for (const chunk of chunks) this.#bytes += chunk.length
  }

  /** What was taken is written: its memory can be used again. */
  release(chunks: readonly Buffer<ArrayBuffer>[]): void {
    for (const { buffer } of chunks) {
      if (this.#spare.length < maxSpare && buffer.byteLength === chunkBytes) this.#spare.push(Buffer.from(buffer))
    }
  }

  #next(bytes: number): void {
    if (this.#used > 0) this.#full.push(this.#current.subarray(0, this.#used))
    this.#current = bytes > chunkBytes ? Buffer.allocUnsafeSlow(bytes) : (this.#spare.pop() ?? Buffer.allocUnsafeSlow(chunkBytes))
    this.#used = 0
  }
}

/** What is left of chunks when so many bytes of them are written. */
export function withoutFirst(chunks: readonly Buffer[], bytes: number): Buffer[] {
  const rest: Buffer[] = []
  let skip = bytes
  for (const chunk of chunks) {
    if (skip < chunk.length) rest.push(chunk.subarray(skip))
    skip = Math.max(0, skip - chunk.length)
  }
  return rest
}
