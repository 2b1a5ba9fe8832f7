/** Pictures for a prompt: made small enough to travel, and to be shown in the conversation. */

/** @typedef {import("./protocol.js").Picture} Picture */

export const MAX_PICTURES = 4;
/** Base64 characters: what an agent's conversation still carries, and four of them one frame. */
const MAX_CHARS = 190_000;
const KINDS = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
/** Longest side in pixels and JPEG quality, tried in turn. */
const SIZES = /** @type {[number, number][]} */ ([
  [1568, 0.85],
  [1568, 0.6],
  [1024, 0.7],
  [768, 0.6],
  [512, 0.5],
]);

/**
 * The pictures among what was pasted, dropped or chosen.
 * @param {DataTransfer | null} from
 */
export function picturesIn(from) {
  return [...(from?.files ?? [])].filter((file) => file.type.startsWith("image/"));
}

/**
 * @param {Blob} file
 * @returns {Promise<Picture>} as it is if it is small, else as a JPEG. Rejects with an Error for a person.
 */
export async function shrunk(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  if (!bitmap) throw new Error("That is no picture, or one that this browser cannot read.");
  try {
    if (KINDS.has(file.type) && file.size * 1.37 < MAX_CHARS) return { mime: file.type, data: await base64(file) };
    for (const [side, quality] of SIZES) {
      const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
      const canvas = document.createElement("canvas");
      canvas.width = Math.max(1, Math.round(bitmap.width * scale));
      canvas.height = Math.max(1, Math.round(bitmap.height * scale));
      const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
      context.fillStyle = "#fff"; // JPEG has no transparency
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
      const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", quality));
      const data = blob ? await base64(blob) : "";
      if (data && data.length <= MAX_CHARS) return { mime: "image/jpeg", data };
    }
  } finally {
    bitmap.close();
  }
  throw new Error("That picture cannot be made small enough.");
}

/** @param {Blob} blob @returns {Promise<string>} */
function base64(blob) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(String(reader.result).replace(/^data:[^,]*,/, ""));
    reader.onerror = () => reject(new Error("That picture could not be read."));
    reader.readAsDataURL(blob);
  });
}
