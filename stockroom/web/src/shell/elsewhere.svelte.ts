/**
 * Detection of another tab of this browser that has the same form open.
 *
 * Knows: locks, which end with their tab however it ends. Must not know: what is typed. Many may hold the
 * lock of a form; whoever comes or goes tells the others to count again.
 */

export class Elsewhere {
  isOpen = $state(false);

  /** Made while a component is set up, and true to that component's life. */
  constructor(form: string) {
    const name = `stockroom.form.${form}`;
    $effect(() => {
      let leave = (): void => undefined;
      const left = new Promise<void>((gone) => (leave = gone));
      const others = new BroadcastChannel(name);
      const count = (): void =>
        void navigator.locks
          .query()
          .then(
            ({ held = [] }) => (this.isOpen = held.filter((one) => one.name === name).length > 1),
          );
      const tell = (): void => others.postMessage(null);
      others.onmessage = count;
      void navigator.locks
        .request(name, { mode: "shared" }, () => {
          count();
          tell();
          return left;
        })
        .then(() => {
          tell();
          others.close();
        });
      // A tab that was closed at once tells nobody; this one comes to the front then.
      document.addEventListener("visibilitychange", count);
      return () => {
        document.removeEventListener("visibilitychange", count);
        leave();
      };
    });
  }
}
