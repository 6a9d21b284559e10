// The port of the decision log: where lines go. Sinks, guarantees and proofs are built behind it.

export interface DecisionLog {
  /** False while lines cannot be kept; then nothing may be answered. */
  readonly available: boolean
  /** The number of the next record; each call counts one up. */
  nextSeq(): number
  /**
   * Takes one line with its line break. Does not block and does not throw.
   * @returns where an answer has to wait for its record: resolves when the line is on the disk, and rejects when it cannot be for now;
   * undefined: nobody has to wait
   */
  append(line: string): Promise<void> | undefined
  /** Resolves when all that was appended is on disk. */
  flush(): Promise<void>
  close(): Promise<void>
}
