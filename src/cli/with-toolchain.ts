// Runs a command's work with the Rego toolchain at hand, and lets it go afterwards.
import { Toolchain } from '../rego/toolchain.ts'

export async function withToolchain<T>(work: (toolchain: Toolchain) => Promise<T>): Promise<T> {
  const toolchain = new Toolchain()
  try {
    return await work(toolchain)
  } finally {
    await toolchain.close()
  }
}
