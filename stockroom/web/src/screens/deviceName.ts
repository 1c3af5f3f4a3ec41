/** Name of a device, until somebody says better. */

export function deviceName(): string {
  const known = /Android|iPhone|iPad|Windows|Macintosh|CrOS|Linux/.exec(navigator.userAgent)?.[0];
  return { Macintosh: "Mac", CrOS: "Chromebook" }[known ?? ""] ?? known ?? "Browser";
}
