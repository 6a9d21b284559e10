// The part of the WebAssembly JavaScript interface that Verdict uses. TypeScript declares it only within its
// library for browsers, whose thousand other globals do not exist in Node.js.
// @see WebAssembly JavaScript Interface, https://webassembly.github.io/spec/js-api/
declare namespace WebAssembly {
  type ImportValue = ((...args: never[]) => unknown) | Memory | Global
  type ModuleImports = Record<string, ImportValue>
  type Imports = Record<string, ModuleImports>

  class Module {
    constructor(bytes: BufferSource)
    static imports(module: Module): { module: string; name: string; kind: string }[]
    static exports(module: Module): { name: string; kind: string }[]
  }
  class Instance {
    constructor(module: Module, imports?: Imports)
    readonly exports: Readonly<Record<string, unknown>>
  }
  class Memory {
    constructor(descriptor: { initial: number; maximum?: number })
    readonly buffer: ArrayBuffer
    grow(pages: number): number
  }
  class Global {
    // biome-ignore lint/suspicious/noExplicitAny: a number or a bigint, as the global was declared
    value: any
  }
  class RuntimeError extends Error {}
  class LinkError extends Error {}

  type BufferSource = ArrayBufferView<ArrayBuffer> | ArrayBuffer
  function validate(bytes: BufferSource): boolean
  function compile(bytes: BufferSource): Promise<Module>
}
