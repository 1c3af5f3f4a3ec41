/** The replica program of Stockroom's schema: compiled by the build (`tools/replicaProgramPlugin.ts`). */
declare module "virtual:replica-program" {
  const program: import("@holdfast/browser").ReplicaProgram;
  export default program;
}
