// The port through which a running policy calls the built-in functions that its module does not bring along.
// Implemented outside this folder, by the toolchain's reactor.

export interface BuiltinHost {
  /** Names of all functions that can be called. */
  readonly names: ReadonlySet<string>
  /** Gets ready, so that the first call is as fast as later ones. */
  warm(): void
  /** Starts an evaluation: time.now_ns() and all that is constant for its duration follow from the instant. */
  begin(timeNs: bigint): void
  /**
   * The program of a pattern, as JSON text (src/policy/pattern-matcher.ts); undefined where there is none.
   * @param delimiters of a glob; absent: a regular expression
   */
  pattern(pattern: string, delimiters?: string): string | undefined
  /**
   * @param args each in the form of opa_value_dump
   * @returns one letter and bytes, valid until the next call: V and the result in the form of opa_value_parse, S and
   * a result that is a string, U undefined, E an error text, H an error text that ends the evaluation
   * @throws PdpError ERR_BUILTIN_FAILED when the function ran out of steps or memory
   */
  call(name: string, args: readonly Uint8Array[]): Uint8Array
}
