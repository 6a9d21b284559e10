// The keys of one large object, told apart without a string for each: a table of where they stand in the text.

const quote = 0x22
const firstSlots = 64
const hashStart = 0x811c9dc5
const hashPrime = 0x01000193

export class KeySet {
  readonly #text: string
  /** For each slot: zero, where a plain key begins in the text plus one, or minus the number of a written one. */
  #entries = new Int32Array(firstSlots)
  #hashes = new Int32Array(firstSlots)
  #count = 0
  /** Keys as strings, from 1 on: those that the text has in another spelling. */
  readonly #written: string[] = ['']

  constructor(text: string) {
    this.#text = text
  }

  /**
   * @param start index of a key's first character in the text; no character of it is written as an escape
   * @returns whether the key was there already
   */
  addPlain(start: number, end: number): boolean {
    return this.#add(hashOf(this.#text, start, end), start + 1, (entry) =>
      entry > 0 ? this.#isSame(entry - 1, start, end) : this.#written[-entry] === this.#text.slice(start, end),
    )
  }

  addWritten(key: string): boolean {
    this.#written.push(key)
    return this.#add(hashOf(key, 0, key.length), 1 - this.#written.length, (entry) =>
      entry < 0 ? this.#written[-entry] === key : this.#text.startsWith(`${key}"`, entry - 1),
    )
  }

  #isSame(other: number, start: number, end: number): boolean {
    const text = this.#text
    let at = other
    for (let i = start; i < end; i++, at++) if (text.charCodeAt(i) !== text.charCodeAt(at)) return false
    return text.charCodeAt(at) === quote
  }

  #add(hash: number, entry: number, isSame: (entry: number) => boolean): boolean {
    if (this.#count * 2 >= this.#entries.length) this.#grow()
    const mask = this.#entries.length - 1
    let slot = hash & mask
    for (let before = this.#entries[slot] as number; before !== 0; before = this.#entries[slot] as number) {
      if (this.#hashes[slot] === hash && isSame(before)) return true
      slot = (slot + 1) & mask
    }
    this.#entries[slot] = entry
    this.#hashes[slot] = hash
    this.#count++
    return false
  }

  #grow(): void {
    const [entries, hashes] = [this.#entries, this.#hashes]
    this.#entries = new Int32Array(entries.length * 2)
    this.#hashes = new Int32Array(entries.length * 2)
    const mask = this.#entries.length - 1
    for (let i = 0; i < entries.length; i++) {
      if (entries[i] === 0) continue
      let slot = (hashes[i] as number) & mask
      while (this.#entries[slot] !== 0) slot = (slot + 1) & mask
      this.#entries[slot] = entries[i] as number
      this.#hashes[slot] = hashes[i] as number
    }
  }
}

/** FNV-1 with 32 bits, and its upper bits mixed into the lower. */
function hashOf(text: string, start: number, end: number): number {
  let hash = hashStart
  for (let i = start; i < end; i++) hash = Math.imul(hash, hashPrime) ^ text.charCodeAt(i)
  return hash ^ (hash >>> 15)
}
