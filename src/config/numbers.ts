// Forms of numbers that many settings have.
import { z } from 'zod'

export const positive = z.int().min(1)
