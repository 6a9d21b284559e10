// Finds a text in the lines of a file that is read in chunks.

/** Finds a text in the lines of a file, which come in order: where the next one lies is known until it is passed, so most lines are not looked at. */
export class Finder {
  readonly #text: Buffer
  #nextAt = -1

  constructor(text: Buffer) {
    this.#text = text
  }

  isIn(bytes: Buffer, from: number, to: number): boolean {
    // Lines of the next chunk begin at 0 again.
    if (from === 0 || this.#nextAt < from) {
      const at = bytes.indexOf(this.#text, from)
      this.#nextAt = at < 0 ? bytes.length : at
    }
    return this.#nextAt < to
  }
}
