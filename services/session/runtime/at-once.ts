/** The same work for many things, so many of them at a time; resolves when all are done. Work must not throw. */
export async function eachAtOnce<T>(things: Iterable<T>, atOnceMax: number, work: (thing: T) => Promise<unknown>): Promise<void> {
  const left = [...things].values();
  const one = async (): Promise<void> => {
    for (const thing of left) await work(thing);
  };
  await Promise.all(Array.from({ length: atOnceMax }, one));
}
