/** The query of `request.uri` and `request.pathAndQuery`, or of any other URL. */
import { CelScalar, celMethod, listType } from '@bufbuild/cel';
import type { CelFunc, CelValue } from '@bufbuild/cel';
import { spoken } from '#protocol/config/language.ts';
import { boundedList, boundedText, spend } from './bounds.ts';
import { listOf } from './collections.ts';
import { isSecretParameter, valuesIn, withOnlyParameter, withParameter } from './query.ts';
import { conceal, isSecret, reveal } from './secrets.ts';

const { DYN, STRING } = CelScalar;

function urlIn(value: CelValue): string {
  const text = reveal(value);
  if (typeof text !== 'string') throw new Error('not a URL');
  return text;
}

/** A URL that holds a secret may be asked for what is none. */
const shown = (url: CelValue, name: string, value: CelValue): CelValue => (isSecret(url) && isSecretParameter(name, spoken().secretParameters) ? (conceal(value) as CelValue) : value);

type Change = (url: string, name: string, value: string) => string;

const changing = (method: string, change: Change): CelFunc =>
  celMethod(method, DYN, [STRING, DYN], DYN, function (name, value) {
    const text = reveal(value);
    if (typeof text !== 'string') throw new Error('not a text');
    const changed = change(urlIn(this), name, text);
    boundedText(changed.length);
    return isSecret(this) || isSecret(value) ? (conceal(changed) as CelValue) : changed;
  });

export const queryFunctions: readonly CelFunc[] = [
  celMethod('query', DYN, [STRING], listType(DYN), function (name) {
    const values = valuesIn(urlIn(this), name);
    boundedList(values.length);
    spend(values.length);
    return shown(this, name, listOf(values)) as never;
  }),
  changing('addQuery', withParameter),
  changing('setQuery', withOnlyParameter),
];
