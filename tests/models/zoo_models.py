"""Tiny models of the families that run by transformers' own forward, random, with their feature extractors."""

from typing import Any

import transformers as T
from transformers.models.gemma4 import feature_extraction_gemma4 as gemma
from transformers.models.granite_speech import configuration_granite_speech as granite
from transformers.models.granite_speech_plus import configuration_granite_speech_plus as granite_plus
from transformers.models.qwen2_5_omni import configuration_qwen2_5_omni as omni
from transformers.models.qwen3_omni_moe import configuration_qwen3_omni_moe as omni3
from transformers.models.voxtral_realtime import feature_extraction_voxtral_realtime as realtime

from tests.models import tiny
from toolkit.models import emotion2vec as e2v
from toolkit.models import filterbanks
from toolkit.models import sensevoice as sense

STACK: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
}
CONVOLUTIONS: dict[str, Any] = {
    "conv_dim": (24, 16, 16, 16, 16, 16, 20),
    "num_conv_pos_embedding_groups": 4,
    "num_conv_pos_embeddings": 32,
}
LAYER_NORM = tiny.LAYER_NORM
SEW: dict[str, Any] = {**STACK, **CONVOLUTIONS, **LAYER_NORM, "conv_dim": (16,) * 13}
SEAMLESS: dict[str, Any] = {
    "hidden_size": 32,
    "speech_encoder_layers": 3,
    "speech_encoder_attention_heads": 4,
    "speech_encoder_intermediate_size": 48,
    "encoder_layers": 1,
    "decoder_layers": 1,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 8,
    "decoder_ffn_dim": 8,
    "vocab_size": 50,
    "t2u_vocab_size": 50,
    "unit_hifi_gan_vocab_size": 50,
    "unit_embed_dim": 8,
    "lang_embed_dim": 8,
    "spkr_embed_dim": 8,
    "upsample_initial_channel": 16,
    "upsample_rates": [2],
    "upsample_kernel_sizes": [4],
    "t2u_encoder_layers": 1,
    "t2u_decoder_layers": 1,
    "t2u_encoder_attention_heads": 2,
    "t2u_decoder_attention_heads": 2,
    "t2u_encoder_ffn_dim": 8,
    "t2u_decoder_ffn_dim": 8,
    "variance_predictor_embed_dim": 8,
    "variance_predictor_hidden_dim": 8,
    "char_vocab_size": 50,
}
KIN: dict[str, Any] = {"d_model": 32, "encoder_layers": 3, "encoder_attention_heads": 4, "encoder_ffn_dim": 48}
TEXT: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 16,
    "vocab_size": 50,
    "pad_token_id": 0,
}


def samples_extractor(normalises: bool = True) -> Any:
    return T.Wav2Vec2FeatureExtractor(do_normalize=normalises, return_attention_mask=True)


def _seamless() -> Any:
    return T.SeamlessM4TFeatureExtractor()


def _whisper(bins: int = 128) -> Any:
    return T.WhisperFeatureExtractor(feature_size=bins)


def conformer(kind: str) -> tuple[Any, Any]:
    config = T.Wav2Vec2ConformerConfig(**STACK, **CONVOLUTIONS, **LAYER_NORM, position_embeddings_type=kind)
    return T.Wav2Vec2ConformerModel(config), samples_extractor()


def w2v_bert(**config: Any) -> tuple[Any, Any]:
    return T.Wav2Vec2BertModel(T.Wav2Vec2BertConfig(**STACK, feature_projection_input_dim=160, **config)), _seamless()


def speecht5() -> tuple[Any, Any]:
    config = T.SpeechT5Config(
        hidden_size=32, encoder_layers=3, encoder_attention_heads=4, encoder_ffn_dim=48, decoder_layers=1,
        decoder_ffn_dim=48, decoder_attention_heads=4, vocab_size=50, **CONVOLUTIONS, **LAYER_NORM,
    )  # fmt: skip
    return T.SpeechT5ForSpeechToText(config), T.SpeechT5FeatureExtractor(do_normalize=False)


def moonshine() -> tuple[Any, Any]:
    config = T.MoonshineConfig(
        hidden_size=32, intermediate_size=48, encoder_num_hidden_layers=3, decoder_num_hidden_layers=1,
        encoder_num_attention_heads=4, decoder_num_attention_heads=4, encoder_num_key_value_heads=4,
        decoder_num_key_value_heads=4, vocab_size=50,
    )  # fmt: skip
    return T.MoonshineForConditionalGeneration(config), samples_extractor(False)


def moonshine_streaming() -> tuple[Any, Any]:
    encoder = {**STACK, "num_key_value_heads": 4, "head_dim": 8, "sliding_windows": [[16, 4], [16, 0], [16, 4]]}
    config = T.MoonshineStreamingConfig(encoder_config=encoder, **TEXT)
    return T.MoonshineStreamingForConditionalGeneration(config), samples_extractor(False)


def speech_to_text() -> tuple[Any, Any]:
    config = T.Speech2TextConfig(
        encoder_layers=3, encoder_ffn_dim=48, encoder_attention_heads=4, decoder_layers=1, decoder_ffn_dim=8,
        decoder_attention_heads=4, d_model=32, conv_channels=24, max_source_positions=1500, vocab_size=50,
    )  # fmt: skip
    return T.Speech2TextForConditionalGeneration(config), T.Speech2TextFeatureExtractor()


def parakeet(head: str = "CTC") -> tuple[Any, Any]:
    encoder = {**STACK, "subsampling_conv_channels": 16, "num_mel_bins": 80}
    sizes = {} if head == "CTC" else {"blank_token_id": 0, "decoder_hidden_size": 16, "joint_hidden_size": 16}
    config = getattr(T, f"Parakeet{head}Config")(vocab_size=50, encoder_config=encoder, pad_token_id=0, **sizes)
    return getattr(T, f"ParakeetFor{head}")(config), T.ParakeetFeatureExtractor(feature_size=80)


def lasr() -> tuple[Any, Any]:
    encoder = {**STACK, "subsampling_conv_channels": 16, "conv_kernel_size": 32}
    return T.LasrForCTC(
        T.LasrCTCConfig(vocab_size=50, encoder_config=encoder, pad_token_id=0)
    ), T.LasrFeatureExtractor()


def qwen2_audio() -> tuple[Any, Any]:
    text = {"model_type": "qwen2", **TEXT}
    config = T.Qwen2AudioConfig(audio_config={"model_type": "qwen2_audio_encoder", **KIN}, text_config=text)
    return T.Qwen2AudioForConditionalGeneration(config), _whisper()


def voxtral() -> tuple[Any, Any]:
    config = T.VoxtralConfig(
        audio_config={"model_type": "voxtral_encoder", **STACK}, text_config={"model_type": "llama", **TEXT}
    )
    return T.VoxtralForConditionalGeneration(config), _whisper()


def audioflamingo3(name: str = "AudioFlamingo3") -> tuple[Any, Any]:
    audio, text = {"model_type": "audioflamingo3_encoder", **STACK}, {"model_type": "qwen2", **TEXT}
    config = getattr(T, f"{name}Config")(audio_config=audio, text_config=text)
    return getattr(T, f"{name}ForConditionalGeneration")(config), _whisper()


def glmasr() -> tuple[Any, Any]:
    audio = {"model_type": "glmasr_encoder", **STACK, "num_key_value_heads": 4}
    config = T.GlmAsrConfig(audio_config=audio, text_config={"model_type": "llama", **TEXT})
    return T.GlmAsrForConditionalGeneration(config), _whisper()


def qwen2_5_omni() -> tuple[Any, Any]:
    audio = {**KIN, "output_dim": 16}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    thinker = omni.Qwen2_5OmniThinkerConfig(audio_config=audio, text_config=TEXT, vision_config=vision)
    config = omni.Qwen2_5OmniConfig(thinker_config=thinker.to_dict(), enable_audio_output=False)
    return T.Qwen2_5OmniForConditionalGeneration(config), _whisper()


def voxtral_realtime() -> tuple[Any, Any]:
    audio = {"model_type": "voxtral_realtime_encoder", **STACK, "head_dim": 8, "sliding_window": 40}
    config = T.VoxtralRealtimeConfig(audio_config=audio, text_config={"model_type": "voxtral_realtime_text", **TEXT})
    return T.VoxtralRealtimeForConditionalGeneration(config), realtime.VoxtralRealtimeFeatureExtractor()


def qwen3_omni_moe() -> tuple[Any, Any]:
    audio = {**KIN, "output_dim": 16, "downsample_hidden_size": 8}
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    text = {**TEXT, "num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8}
    thinker = {"audio_config": audio, "text_config": text, "vision_config": vision}
    config = omni3.Qwen3OmniMoeConfig(thinker_config=thinker, enable_audio_output=False)
    return T.Qwen3OmniMoeForConditionalGeneration(config), _whisper()


def qwen3_asr() -> tuple[Any, Any]:
    audio = {"model_type": "qwen3_asr_encoder", **KIN, "output_dim": 16, "downsample_hidden_size": 8}
    config = T.Qwen3ASRConfig(audio_config=audio, text_config={"model_type": "qwen3", **TEXT})
    return T.Qwen3ASRForConditionalGeneration(config), T.Qwen3ASRFeatureExtractor()


def phi4() -> tuple[Any, Any]:
    audio = {
        "hidden_size": 32, "intermediate_size": 48, "num_blocks": 3, "num_attention_heads": 4, "ext_pw_out_channel": 32,
        "depthwise_separable_out_channel": 32, "nemo_conv_channels": 32,
    }  # fmt: skip
    vision = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = T.Phi4MultimodalConfig(audio_config=audio, vision_config=vision, **TEXT)
    return T.Phi4MultimodalForCausalLM(config), T.Phi4MultimodalFeatureExtractor()


def gemma3n() -> tuple[Any, Any]:
    config = T.Gemma3nAudioConfig(
        hidden_size=32, conf_num_attention_heads=4, conf_num_hidden_layers=3, sscp_conv_channel_size=[8, 4]
    )
    return T.Gemma3nAudioEncoder(config), T.Gemma3nAudioFeatureExtractor()


def gemma4() -> tuple[Any, Any]:
    sizes = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "output_proj_dims": 16}
    config = T.Gemma4AudioConfig(**sizes, subsampling_conv_channels=[128, 4])
    return T.Gemma4AudioModel(config), gemma.Gemma4AudioFeatureExtractor()


SMALL_DECODER = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


def cohere() -> tuple[Any, Any]:
    encoder = {**STACK, "subsampling_conv_channels": 16, "num_mel_bins": 80}
    config = T.CohereAsrConfig(encoder_config=encoder, vocab_size=50, pad_token_id=0, **SMALL_DECODER)
    return T.CohereAsrForConditionalGeneration(config), T.CohereAsrFeatureExtractor(feature_size=80)


def canary() -> tuple[Any, Any]:
    encoder = {**STACK, "subsampling_conv_channels": 16, "num_mel_bins": 80}
    decoder = {**SMALL_DECODER, "vocab_size": 50}
    config = T.CanaryConfig(encoder_config=encoder, decoder_config=decoder, vocab_size=50, pad_token_id=0)
    return T.CanaryForConditionalGeneration(config), T.ParakeetFeatureExtractor(feature_size=80)


def granite_speech(kind: str = "") -> tuple[Any, Any]:
    encoder = {"num_layers": 3, "hidden_dim": 32, "num_heads": 4, "dim_head": 8, "context_size": 40, "max_pos_emb": 64}
    projector = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
                 "encoder_hidden_size": 32}  # fmt: skip
    config = (granite_plus.GraniteSpeechPlusConfig if kind else granite.GraniteSpeechConfig)(
        encoder_config=encoder, projector_config={"model_type": "blip_2_qformer", **projector},
        text_config={"model_type": "granite", **TEXT}, has_lora_adapter=False,
    )  # fmt: skip
    model = T.GraniteSpeechPlusForConditionalGeneration if kind else T.GraniteSpeechForConditionalGeneration
    return model(config), filterbanks.GraniteSpeechFeatureExtractor({})


def fun_asr_nano() -> tuple[Any, Any]:
    audio = {**STACK, "model_type": "fun_asr_nano_encoder", "num_timestamp_prediction_layers": 1}
    adaptor = {"hidden_size": 16, "intermediate_size": 4, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = T.FunAsrNanoConfig(audio_config=audio, adaptor_config=adaptor, text_config={"model_type": "qwen3", **TEXT})
    return T.FunAsrNanoForConditionalGeneration(config), filterbanks.FunAsrNanoFeatureExtractor({})


def seamless_m4t() -> tuple[Any, Any]:
    positions = {"num_conv_pos_embedding_groups": 4, "num_conv_pos_embeddings": 32, "max_source_positions": 400}
    return T.SeamlessM4TForSpeechToText(T.SeamlessM4TConfig(**SEAMLESS, **positions)), _seamless()


def seamless_m4t_v2() -> tuple[Any, Any]:
    return T.SeamlessM4Tv2ForSpeechToText(T.SeamlessM4Tv2Config(**SEAMLESS)), _seamless()


def emotion2vec() -> tuple[Any, Any]:
    config = e2v.Emotion2vecConfig(**STACK, conv_dim=CONVOLUTIONS["conv_dim"], conv_pos_groups=4)
    return e2v.Emotion2vecModel(config), e2v.Emotion2vecFeatureExtractor({})


def sensevoice() -> tuple[Any, Any]:
    config = sense.SenseVoiceConfig(**{**STACK, "num_hidden_layers": 4}, num_timestamp_prediction_layers=2)
    model = sense.SenseVoiceModel(config)
    model.shift.normal_()
    model.scale.uniform_(0.05, 0.1)
    return model, sense.SenseVoiceFeatureExtractor({})


def encodec() -> tuple[Any, Any]:
    config = T.EncodecConfig(num_filters=4, hidden_size=16, codebook_dim=16, codebook_size=32)
    return T.EncodecModel(config), T.EncodecFeatureExtractor(sampling_rate=24_000)


def dac() -> tuple[Any, Any]:
    sizes = {"encoder_hidden_size": 8, "decoder_hidden_size": 16, "codebook_size": 32, "hidden_size": 128,
             "downsampling_ratios": [2, 4, 5, 8]}  # fmt: skip
    return T.DacModel(T.DacConfig(**sizes)), T.DacFeatureExtractor()


def mimi() -> tuple[Any, Any]:
    sizes = {"num_key_value_heads": 4, "head_dim": 8, "codebook_size": 32, "codebook_dim": 16, "sliding_window": 20}
    config = T.MimiConfig(**STACK, **sizes, num_filters=8, vector_quantization_hidden_dimension=16, upsample_groups=32)
    return T.MimiModel(config), T.EncodecFeatureExtractor(sampling_rate=24_000)


def clap() -> tuple[Any, Any]:
    audio = {"hidden_size": 64, "depths": [1, 1, 1, 1], "num_attention_heads": [2, 2, 4, 4], "projection_dim": 16,
             "patch_embeds_hidden_size": 8, "num_classes": 5}  # fmt: skip
    text = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16,
            "vocab_size": 50, "projection_dim": 16}  # fmt: skip
    config = T.ClapConfig(audio_config=audio, text_config=text, projection_dim=16)
    return T.ClapModel(config), T.ClapFeatureExtractor(truncation="rand_trunc", padding="repeatpad")
