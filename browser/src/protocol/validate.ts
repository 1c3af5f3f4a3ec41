/**
 * Messages are held to the schema they were declared with: nothing else is believed.
 *
 * Knows: the part of JSON Schema that the generated one uses. Must not know: what a message means.
 * No code is generated, so that a page's content security policy may be strict.
 */

import { DEFINITIONS } from "./messages.schema.generated.js";

interface Part {
  readonly $ref?: string;
  readonly anyOf?: readonly Part[];
  readonly enum?: readonly unknown[];
  readonly type?: string;
  readonly properties?: Readonly<Record<string, Part>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: boolean | Part;
  readonly items?: Part | false;
  readonly prefixItems?: readonly Part[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly minLength?: number;
  readonly maxLength?: number;
  readonly minItems?: number;
  readonly maxItems?: number;
  readonly pattern?: string;
}

const DEFINED = DEFINITIONS as Readonly<Record<string, Part>>;
const patterns = new Map<string, RegExp>();

/** Return what is wrong with a value that should be a `name`, and where; null when nothing is. */
export function faultOf(name: string, value: unknown): string | null {
  return fault(DEFINED[name] ?? {}, value, name);
}

function fault(part: Part, value: unknown, where: string): string | null {
  if (part.$ref !== undefined) {
    const name = part.$ref.slice("#/$defs/".length);
    return fault(DEFINED[name] ?? {}, value, where);
  }
  if (part.anyOf !== undefined) {
    const faults = part.anyOf.map((option) => fault(option, value, where));
    return faults.includes(null) ? null : `${where} is none of those it may be`;
  }
  if (part.enum !== undefined) return part.enum.includes(value) ? null : `${where} is not allowed`;
  switch (part.type) {
    case undefined:
      return null;
    case "object":
      return objectFault(part, value, where);
    case "array":
      return arrayFault(part, value, where);
    case "string":
      return stringFault(part, value, where);
    case "integer":
    case "number":
      return numberFault(part, value, where);
    case "null":
      return value === null ? null : `${where} is not null`;
    default:
      return typeof value === part.type ? null : `${where} is not a ${part.type}`;
  }
}

function objectFault(part: Part, value: unknown, where: string): string | null {
  if (value === null || typeof value !== "object" || Array.isArray(value))
    return `${where} is not an object`;
  const fields = value as Readonly<Record<string, unknown>>;
  for (const name of part.required ?? [])
    if (!Object.hasOwn(fields, name)) return `${where} has no ${name}`;
  const { properties = {}, additionalProperties = true } = part;
  for (const [name, inner] of Object.entries(fields)) {
    const known = Object.hasOwn(properties, name) ? properties[name] : additionalProperties;
    if (known === false || known === undefined) return `${where} has an unknown field`;
    const found = known === true ? null : fault(known, inner, `${where}.${name}`);
    if (found !== null) return found;
  }
  return null;
}

function arrayFault(part: Part, value: unknown, where: string): string | null {
  if (!Array.isArray(value)) return `${where} is not an array`;
  if (value.length < (part.minItems ?? 0) || value.length > (part.maxItems ?? Infinity))
    return `${where} has the wrong number of items`;
  const { items, prefixItems = [] } = part;
  for (const [at, inner] of (value as unknown[]).entries()) {
    const known = prefixItems[at] ?? items;
    if (known === undefined) return null; // of any kind
    const found = known === false ? `${where} is too long` : fault(known, inner, `${where}[${at}]`);
    if (found !== null) return found;
  }
  return null;
}

function stringFault(part: Part, value: unknown, where: string): string | null {
  if (typeof value !== "string" || !value.isWellFormed()) return `${where} is not a text`;
  if (value.length < (part.minLength ?? 0) || value.length > (part.maxLength ?? Infinity))
    return `${where} has the wrong length`;
  if (part.pattern === undefined) return null;
  let pattern = patterns.get(part.pattern);
  if (pattern === undefined) patterns.set(part.pattern, (pattern = new RegExp(part.pattern, "u")));
  return pattern.test(value) ? null : `${where} has not its form`;
}

function numberFault(part: Part, value: unknown, where: string): string | null {
  if (typeof value !== "number" || !Number.isFinite(value)) return `${where} is not a number`;
  if (part.type === "integer" && !Number.isSafeInteger(value)) return `${where} is not an integer`;
  if (value < (part.minimum ?? -Infinity) || value > (part.maximum ?? Infinity))
    return `${where} is out of range`;
  return null;
}
