// SPDX-License-Identifier: Apache-2.0
//
// Every constant of the on-disk format; each cites its section of FORMAT.md. No code.
#pragma once

#include <cstddef>
#include <cstdint>

namespace bygone::store {

// Section 1: layout.
inline constexpr std::uint64_t kReserveBytes = 8u << 20;

// Section 2: config.
inline constexpr char kConfigMagic[] = "BYGONE\r\n";  // 8 bytes; shows text-mode damage
inline constexpr std::uint16_t kFormatVersion = 1;
inline constexpr std::size_t kConfigBytes = 96;
inline constexpr std::uint8_t kChunkerKeyedGear = 1;

// Section 3: subkey numbers. Of the repository key:
inline constexpr std::uint64_t kSubkeyChunkIds = 1;
inline constexpr std::uint64_t kSubkeyChunker = 2;
inline constexpr std::uint64_t kSubkeyNames = 3;
inline constexpr std::uint64_t kSubkeyInodes = 4;
inline constexpr std::uint64_t kSubkeyConfig = 5;
inline constexpr std::uint64_t kSubkeyTags = 6;
inline constexpr std::uint64_t kSubkeySnapshotIds = 7;  // of notes too
inline constexpr std::uint64_t kSubkeySlotLabels = 8;
// Of an epoch's master key:
inline constexpr std::uint64_t kSubkeyDataPacks = 1;
inline constexpr std::uint64_t kSubkeyPagePacks = 2;
inline constexpr std::uint64_t kSubkeySnapshots = 3;
inline constexpr std::uint64_t kSubkeyNotes = 4;
inline constexpr std::uint64_t kSubkeyLists = 5;

// Section 4: key slots.
inline constexpr char kSlotMagic[] = "BYGNKEY1";
inline constexpr std::size_t kMaxSlotBytes = 4096;
inline constexpr std::size_t kMaxLabelBytes = 63;
inline constexpr std::size_t kLabelPlainBytes = 72;  // time, length, label, zeros
inline constexpr std::size_t kMaxEpochs = 64;
// What a slot may ask of Argon2id: its limits are read before they are authenticated.
inline constexpr std::uint32_t kMaxArgonOperations = 16;
inline constexpr std::uint64_t kMaxArgonMemory = std::uint64_t{1} << 30;

// Section 5: chunks.
inline constexpr std::size_t kMinChunk = 64u << 10;
inline constexpr std::size_t kNormalChunk = 256u << 10;
inline constexpr std::size_t kMaxChunk = 1u << 20;
inline constexpr std::uint64_t kCoarseFrom = 4u << 20;  // chunks from here on in a file are larger
inline constexpr std::size_t kMinCoarseChunk = 512u << 10;
inline constexpr std::size_t kNormalCoarseChunk = 768u << 10;
inline constexpr std::size_t kSmallFile = 64u << 10;  // files below it go to streams
inline constexpr std::size_t kStreamGap = 16u << 10;  // unchanged small bytes that end a chunk
inline constexpr std::size_t kStreamEntries = 4096;   // entries walked that end a chunk
inline constexpr std::size_t kZeroRun = 64u << 10;    // shortest run of zeros with its own extent
inline constexpr std::size_t kZeroAlign = 4096;
inline constexpr std::size_t kMaxDeltaDepth = 7;

// Section 6: packs.
inline constexpr char kPackMagic[] = "BYGNPACK";
inline constexpr std::uint16_t kPackVersion = 1;
inline constexpr std::size_t kPackHeaderBytes = 128;
inline constexpr std::size_t kRecordHeadBytes = 88;  // plain; sealed 16 more
inline constexpr std::size_t kRecordAlign = 16;
inline constexpr std::size_t kTrailerPlainBytes = 48;  // sealed 16 more
inline constexpr std::uint64_t kPackTarget = 32u << 20;
inline constexpr std::uint64_t kMaxPackBytes = std::uint64_t{1} << 32;
inline constexpr std::uint32_t kMaxPackRecords = 1u << 20;
inline constexpr std::uint16_t kSectionRecords = 1;
inline constexpr std::uint8_t kCodecRaw = 0;
inline constexpr std::uint8_t kCodecZstd = 1;
inline constexpr std::uint8_t kCodecPatch = 2;
inline constexpr std::size_t kPatchUnit = 64;  // bytes

// Section 7: pages.
inline constexpr std::uint8_t kPageVersion = 1;
inline constexpr std::size_t kPageClose = 64u << 10;  // a page closes after the node that passes it
inline constexpr std::size_t kMaxPage = 4u << 20;
inline constexpr std::size_t kLeafSplit = 64u << 10;
inline constexpr std::size_t kLeafMin = 16u << 10;
inline constexpr std::uint64_t kLeafCutMask = 0xff;
inline constexpr std::size_t kMaxChildren = 64;  // of an index node
inline constexpr std::size_t kExtentsPerNode = 64;
inline constexpr std::uint64_t kExtentWindow = 16u << 20;  // file bytes that one extent node covers
inline constexpr int kMaxTreeDepth = 16;
inline constexpr std::size_t kMaxInlineBytes = 64;
inline constexpr std::size_t kMaxInlineExtents = 4;
inline constexpr std::size_t kMaxInlineXattrs = 1024;
inline constexpr std::size_t kMaxNameBytes = 255;
inline constexpr std::size_t kMaxTargetBytes = 4096;
inline constexpr std::size_t kMaxXattrSet = 1u << 20;

// Section 8: sealed objects.
inline constexpr std::size_t kObjectPad = 256;
inline constexpr std::size_t kMaxObjectBytes = 16u << 20;
inline constexpr std::size_t kMaxNoteKey = 1024;
inline constexpr std::size_t kMaxTagBytes = 1000;  // with its prefix it is a key
inline constexpr std::size_t kMaxNoteValue = 64u << 10;
inline constexpr std::size_t kMaxNoteFile = 128u << 10;
inline constexpr std::size_t kMaxNotes = 1u << 18;
inline constexpr std::uint8_t kCondemnedVersion = 1;
inline constexpr std::uint64_t kMaxCondemned = 512u << 10;  // packs in a list
inline constexpr std::uint64_t kMaxGeneration = std::uint64_t{1} << 63;

}  // namespace bygone::store
