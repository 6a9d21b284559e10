// Choices for a generator, read from a list of small numbers. A generator whose first choice is the simplest one gets
// simpler when the list gets shorter or its numbers smaller, so that fast-check shrinks programs by shrinking lists.

export class Tape {
  readonly #numbers: readonly number[]
  #at = 0

  constructor(numbers: readonly number[]) {
    this.#numbers = numbers
  }

  /** A number from 0 to `count` - 1; 0 when the list has ended. */
  below(count: number): number {
    return (this.#numbers[this.#at++] ?? 0) % count
  }

  pick<T>(choices: readonly T[]): T {
    return choices[this.below(choices.length)] as T
  }

  /** True in about `percent` of a hundred choices; false when the list has ended. */
  chance(percent: number): boolean {
    return this.below(100) >= 100 - percent
  }

  /** Between 0 and `most` items. */
  list<T>(most: number, make: () => T): T[] {
    return Array.from({ length: this.below(most + 1) }, make)
  }
}
